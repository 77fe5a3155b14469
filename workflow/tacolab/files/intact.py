"""Files of earlier stages that disks or copies have damaged: one line with the remedy.

Neither Parquet nor safetensors notices a changed number. So descriptions hold the sha256 of the
files beside them.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tacolab.errors import UserError
from tacolab.files.texts import loads


@contextmanager
def reading(path: Path, remedy: str) -> Iterator[None]:
    """Raises UserError for whatever goes wrong inside: decoders raise about anything on damage."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: is missing; {remedy}") from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: damaged ({reason}); {remedy}") from None


def sha256(path: Path) -> dict[str, str]:
    """By the file's name, as descriptions hold it under `sha256`."""
    with path.open("rb") as file:
        return {path.name: hashlib.file_digest(file, "sha256").hexdigest()}


def check(path: Path, description: Path, remedy: str) -> None:
    """Raises UserError unless the file is as it was written; older descriptions do not tell."""
    with reading(description, remedy):
        told = loads(description.read_text(encoding="utf-8")).get("sha256", {}).get(path.name)
    with reading(path, remedy):
        if told and sha256(path)[path.name] != told:
            raise ValueError("other bytes than were written")
