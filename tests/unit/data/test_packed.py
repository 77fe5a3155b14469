"""Packed opens what the data stage made, travels to loader processes, and names what is damaged."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tacolab.errors import UserError
from tacolab.keys import Artefact
from tacolab.packed import Packed


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
        "import sys; from pathlib import Path; from tacolab.packed import Packed; "
        "from tacolab.captiontable import CaptionTable; Packed(Path(sys.argv[1])).rgb(0); "
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
