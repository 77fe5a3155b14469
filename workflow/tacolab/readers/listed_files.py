"""Reads the small files that list or caption a data set, below `data_root`."""

import hashlib
from pathlib import Path

from tacolab.config import FileRef
from tacolab.errors import UserError

SET_DATA_ROOT = "set `data_root: /path` in the config, or `--config data_root=/path` for snakemake"


def read(ref: FileRef, root: Path) -> tuple[bytes, str]:
    """Content and sha256. Raises UserError when it is missing or not what the config pins."""
    path = root / ref.path
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path.absolute()}: {error.strerror}; data_root is '{root}': {SET_DATA_ROOT}"
        ) from None
    actual = hashlib.sha256(content).hexdigest()
    if ref.sha256 not in (None, actual):
        raise UserError(
            f"{path}: changed: its sha256 is {actual[:12]}..., the config says "
            f"{str(ref.sha256)[:12]}...; put the original file back"
        )
    return content, actual
