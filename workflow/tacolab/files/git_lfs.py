"""Pointers of Git LFS: what a clone without it has in the place of large files."""

from pathlib import Path

POINTER = b"version https://git-lfs"
POINTS = (
    "is a pointer of Git LFS, not the file itself; run `git lfs pull` in the folder that it was "
    "cloned to, or download it"
)


def is_pointer(path: Path) -> bool:
    """Whether a file is one."""
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER
