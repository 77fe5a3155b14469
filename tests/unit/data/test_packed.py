"""Packed opens what the data stage made, travels to loader processes, and names what is damaged."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tacolab.errors import UserError
from tacolab.plan import Artefact
from tacolab.readers import pictures
from tacolab.readers.packed import Packed
from tacolab.readers.pictures import UnreadableError


@pytest.fixture
def folder(pack: Callable[..., Artefact], photos: Path) -> Path:
    return pack({"kind": "folder", "images": "photos", "list": "list.json"}).folder


def test_pixels_are_pillows(folder: Path, photos: Path) -> None:
    packed = Packed(folder)
    for i, name in enumerate(packed.ids):
        with Image.open(photos / name) as image:
            assert np.array_equal(packed.rgb(i), np.asarray(image.convert("RGB")))
            assert packed.size(i) == image.size
        assert packed.captions(i) == []


def test_pickled_it_is_a_path(folder: Path) -> None:
    packed = Packed(folder)
    content = pickle.dumps(packed)
    assert len(content) < 300
    copy = pickle.loads(content)
    assert copy.ids == packed.ids
    assert np.array_equal(copy.rgb(2), packed.rgb(2))


def test_neither_torch_nor_datasets_is_imported(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tacolab.readers.packed import Packed; "
        "from tacolab.readers.caption_table import CaptionTable; Packed(Path(sys.argv[1])).rgb(0); "
        "print([m for m in ('torch', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_missing_or_unfinished(folder: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.*no packed data set; .*`tacolab data results`"):
        Packed(Path("results/nowhere"))
    (folder / "manifest.json").unlink()
    with pytest.raises(
        UserError, match=r"manifest\.json: no packed data set; .*`tacolab data set`"
    ):
        Packed(folder)


@pytest.mark.parametrize("kept", [0, 100, 300_000])
def test_a_damaged_part_is_refused(folder: Path, kept: int) -> None:
    part = next(folder.glob("*.arrow"))
    part.write_bytes(part.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"damaged .*remove it and make it with"):
        Packed(folder)


def test_a_damaged_image_is_named(folder: Path) -> None:
    part = next(folder.glob("*.arrow"))
    content = part.read_bytes()
    start = content.index(b"\xff\xd8\xff")
    part.write_bytes(content[:start] + bytes(64) + content[start + 64 :])
    with pytest.raises(UserError, match=r"image flower\.jpg is damaged"):
        Packed(folder).rgb(0)


def test_a_picture_that_is_another_one_is_refused(folder: Path) -> None:
    """A JPEG has no checksum: with a bit less it is whole, and looks otherwise."""
    path = next(folder.glob("*.arrow"))
    content, place = bytearray(path.read_bytes()), 0
    jpeg = Packed(folder).encoded(0)
    for place in range(len(jpeg) // 2, len(jpeg)):
        other = jpeg[:place] + bytes([jpeg[place] ^ 1]) + jpeg[place + 1 :]
        with suppress(UnreadableError):
            if not np.array_equal(pictures.read(other).pixels, pictures.read(jpeg).pixels):
                break
    content[content.index(jpeg) + place] ^= 1
    path.unlink()  # not written over: it is mapped
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"image flower\.jpg is damaged: it has not the sha256"):
        Packed(folder).rgb(0)


def turned(photos: Path, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(photos / name) as image:
        image.save(photos / name, exif=exif)


def test_images_are_known_by_what_they_look_like(
    pack: Callable[..., Artefact], photos: Path
) -> None:
    """By their file, as ever, where that is all; otherwise the same file was shown otherwise."""
    turned(photos, "coffee.png")
    packed = Packed(pack({"kind": "folder", "images": "photos", "list": "list.json"}).folder)
    assert packed.ids == ["flower.jpg", "china.jpg", "coffee.png"]
    assert packed.shown[:2] == packed.sha256[:2]
    assert packed.shown[2] != packed.sha256[2]
    assert packed.conversions == ["", "", "turned"]


def test_a_set_of_an_earlier_version_is_read_as_it_was(
    pack: Callable[..., Artefact], photos: Path
) -> None:
    """Models and codes were made of its pictures as they are stored."""
    turned(photos, "coffee.png")
    folder = pack({"kind": "folder", "images": "photos", "list": "list.json"}).folder
    path = next(folder.glob("*.arrow"))
    rows = pa.ipc.open_stream(path.read_bytes()).read_all().drop_columns(["conversion"])
    with pa.ipc.new_stream(path, rows.schema) as stream:
        stream.write_table(rows)
    packed = Packed(folder)
    with Image.open(photos / "coffee.png") as image:
        assert np.array_equal(packed.rgb(2), np.asarray(image))
    assert packed.shown == packed.sha256
