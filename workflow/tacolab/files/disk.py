"""What a disk refuses: one line with the path and the remedy, whichever library met it."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tacolab.errors import Interrupted, StageError, UserError

FULL = (errno.ENOSPC, errno.EDQUOT)
LOCKED = (errno.EROFS, errno.EACCES, errno.EPERM)
# Libraries whose errors carry no number: what is written in Rust (safetensors); datasets, numpy.
_NUMBER = re.compile(r"\(os error (\d+)\)")
_NO_SPACE = re.compile(r"No space left on device|Not enough (free|disk) space")


class RefusedError(OSError):
    """The disk does not take what was to be written to `path`; it needs `needed` bytes."""

    def __init__(self, number: int, path: Path, needed: int | None = None) -> None:
        super().__init__(number, os.strerror(number), str(path))
        self.needed = needed

    def __str__(self) -> str:
        return str(explained(self))


def free(path: Path) -> int:
    """Bytes that may be written at `path`, which need not exist; a quota may allow less."""
    disk = os.statvfs(_existing(path))
    return disk.f_bavail * disk.f_frsize


@contextmanager
def writing(path: Path, needed: int | None = None) -> Iterator[None]:
    """What a disk refuses within is raised as RefusedError, and names `path`; other errors pass.

    needed: bytes, where that is known.
    """
    try:
        yield
    except Exception as error:
        number, file = _refusal(error, of_a_file=True)
        # A temporary file beside it stands for `path`; of another place the error tells itself.
        if number and (file is None or Path(file).parent == path.parent):
            raise RefusedError(number, path, needed) from error
        raise


def explained(error: BaseException, path: Path | None = None) -> StageError | None:
    """What a person reads of a refusal; None for any other exception.

    path: where it was, if the error does not say.
    """
    number, file = _refusal(error)
    if number is None:
        return None
    there = Path(file) if file else path or Path()
    if number in FULL:
        needed = getattr(error, "needed", None)
        text = full(
            there, number, f"{max(needed / 2**20, 0.1):.1f} MiB are needed" if needed else ""
        )
    elif number == errno.EROFS:
        text = f"{there}: the disk is read-only; mount it for writing, or work in another folder"
    else:
        text = f"{there}: {os.strerror(number)}; see with `ls -ld` whose it is and change that"
    return StageError(f"{text}, and the same command goes on")


def full(path: Path, number: int, needs: str = "") -> str:
    """Of a full disk or quota, up to the remedy; needs: what is known of that."""
    disk = os.statvfs(_existing(path))
    facts = [needs] if needs else []
    if number != errno.EDQUOT:  # a quota leaves of the disk what it leaves
        facts.append(f"{free(path) / 2**20:.1f} MiB are free")
    if disk.f_files and not disk.f_favail:
        facts.append("no more files fit (inodes)")
    told = f": {', '.join(facts)}" if facts else ""
    return f"{path}: the disk or the quota is full{told}; make room"


def _existing(path: Path) -> Path:
    """`path` or the nearest folder above it that is there."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def _refusal(error: BaseException | None, of_a_file: bool = False) -> tuple[int | None, str | None]:
    """The system's number of what the disk refused, and the file, of an exception and its causes.

    of_a_file: no network is there that could be meant, which has no right to be reached either.
    """
    while error is not None and not isinstance(error, UserError | StageError | Interrupted):
        if isinstance(error, OSError):
            file = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None
            if error.errno in FULL or (error.errno in LOCKED and (file or of_a_file)):
                return error.errno, file
        if (match := _NUMBER.search(str(error))) and int(match[1]) in (*FULL, *LOCKED):
            return int(match[1]), None
        if _NO_SPACE.search(str(error)):
            return errno.ENOSPC, None
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None, None
