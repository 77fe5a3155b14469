"""A disk that is full or read-only: one line with the path and the remedy, whoever wrote."""

import errno
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure
from PIL import Image
from safetensors.numpy import save_file

from small_disk import mounted, remount
from tacolab.errors import StageError
from tacolab.files import atomic, disk

NOISE = np.random.default_rng(0).integers(0, 256, (1024, 1024), dtype=np.uint8)  # 1 MiB


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for half of NOISE."""
    with mounted(tmp_path / "small", "size=512k") as place:
        yield place


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("noise", NOISE.tobytes())


def _figure(path: Path) -> None:
    figure = Figure(figsize=(10, 10))
    figure.add_subplot().imshow(NOISE, interpolation="none")
    figure.savefig(path, dpi=200)


TABLE = pd.DataFrame(NOISE)
WRITERS: dict[str, Callable[[Path], object]] = {
    "plain.bin": lambda path: path.write_bytes(NOISE.tobytes()),
    "pandas.parquet": lambda path: TABLE.rename(columns=str).to_parquet(path),
    "arrow.parquet": lambda path: pq.write_table(pa.table({"a": NOISE.ravel()}), path),
    "table.csv": lambda path: TABLE.to_csv(path),
    "weights.safetensors": lambda path: save_file({"a": NOISE}, path),
    "streams.zip": _zip,
    "picture.png": lambda path: Image.fromarray(NOISE).save(path),
    "figure.svg": _figure,
    "figure.pdf": _figure,
}


@pytest.mark.parametrize("name", WRITERS)
def test_whoever_wrote_the_line_names_the_file_and_the_remedy(small: Path, name: str) -> None:
    path = small / "folder" / name
    with pytest.raises(disk.RefusedError) as refused:
        atomic.write(path, WRITERS[name])
    line = str(disk.explained(refused.value))
    assert line.startswith(f"{path}: the disk or the quota is full: ")
    assert line.endswith("; make room, and the same command goes on")
    assert refused.value.errno == errno.ENOSPC
    assert list(path.parent.iterdir()) == []
    remount(small, "ro")
    with pytest.raises(disk.RefusedError) as refused:
        atomic.write(path, WRITERS[name])
    line = str(disk.explained(refused.value))
    assert line.startswith(f"{path}: the disk is read-only; mount it for writing")


def test_what_is_needed_and_what_is_free_stands_in_the_line(small: Path) -> None:
    with pytest.raises(disk.RefusedError, match=r"full: 1\.0 MiB are needed, 0\.5 MiB are free; "):
        atomic.write_bytes(small / "noise", NOISE.tobytes())
    remount(small, "nr_inodes=2")
    (small / "one").touch()
    with pytest.raises(disk.RefusedError, match="no more files fit"):
        atomic.write_bytes(small / "two", b"")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.EDQUOT, "x"), "here: the disk or the quota is full; make room"),
        (OSError(errno.EDQUOT, "x", "a/b"), "a/b: the disk or the quota is full; make room"),
        (PermissionError(errno.EACCES, "x", "a/b"), "a/b: Permission denied; see with `ls -ld`"),
        (OSError("Not enough free space to write 9 bytes"), "here: the disk or the quota is full"),
        (RuntimeError("I/O error: Quota exceeded (os error 122)"), "here: the disk or the quota"),
    ],
)
def test_other_refusals(error: Exception, line: str) -> None:
    assert str(disk.explained(error, Path("here"))).startswith(line)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("wrong"),
        FileNotFoundError(errno.ENOENT, "No such file", "a"),
        PermissionError(errno.EPERM, "Operation not permitted"),  # of a network, by its firewall
        StageError("has its own line"),
    ],
)
def test_other_errors_are_left_alone(error: Exception) -> None:
    assert disk.explained(error) is None


def test_a_file_of_another_place_is_named_by_itself(tmp_path: Path) -> None:
    def save(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "elsewhere/photo.png")

    with pytest.raises(PermissionError) as refused:
        atomic.write(tmp_path / "table", save)
    assert str(disk.explained(refused.value)).startswith("elsewhere/photo.png: Permission denied")
