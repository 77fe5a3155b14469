"""Work kept in parts: each is there whole, or named as damaged, or made again."""

import zipfile
from pathlib import Path

import pytest

from tacolab.errors import StageError, UserError
from tacolab.files.parts import Part, Parts


def test_kept_parts_are_not_missing_and_come_back_whole(tmp_path: Path) -> None:
    ranges = [range(2), range(2, 3)]
    kept = Parts(tmp_path, ranges)
    kept.save(ranges[1], Part([{"a": None}], {"x/y.bin": b"\x00\xff"}))
    again = Parts(tmp_path, ranges)
    assert again.missing == [ranges[0]]
    again.save(ranges[0], Part([{"a": 1.5}, {"a": "ü"}], {}))
    assert [(part.rows, dict(part.files)) for part in again] == [
        ([{"a": 1.5}, {"a": "ü"}], {}),
        ([{"a": None}], {"x/y.bin": b"\x00\xff"}),
    ]
    # Other parts, from another version or list, are not taken for these.
    assert Parts(tmp_path, [range(3)]).missing == [range(3)]


def test_parts_made_from_something_else_are_neither_taken_nor_harmed(tmp_path: Path) -> None:
    old, new = (Parts(tmp_path, [range(1)], name) for name in ("old", "new"))
    old.save(range(1), Part([{"a": 1}]))
    assert new.missing == [range(1)]
    new.save(range(1), Part([{"a": 2}]))
    assert (old.rows, new.rows) == ([{"a": 1}], [{"a": 2}])
    new.remove()
    assert not tmp_path.exists()
    for late in (lambda: old.save(range(1), Part([])), lambda: old.rows):
        with pytest.raises(StageError, match="was removed while its parts were made"):
            late()


def test_what_no_table_may_hold_is_refused(tmp_path: Path) -> None:
    kept = Parts(tmp_path, [range(1)])
    with pytest.raises(ValueError, match="JSON"):
        kept.save(range(1), Part([{"psnr": float("inf")}]))
    assert kept.missing == [range(1)]


def test_a_part_that_is_packed_is_refused(tmp_path: Path) -> None:
    """It might fill the memory; what is written here never is."""
    parts = Parts(tmp_path, [range(1)])
    parts.save(range(1), Part([], {"file": b"x"}))
    (path,) = parts.folder.iterdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.json", "[]")
        archive.writestr("file", bytes(10**6))
    with pytest.raises(UserError, match=r"damaged .*is packed.*delete it"):
        parts.rows  # noqa: B018


def test_whichever_byte_of_a_part_is_changed(tmp_path: Path) -> None:
    """It is read as it was written, or named."""
    kept = Parts(tmp_path, [range(1)])
    part = Part([{"image_id": "a"}], {"a.0.bin": b"0123456789"})
    kept.save(range(1), part)
    (path,) = kept.folder.iterdir()
    intact = path.read_bytes()
    for place in range(len(intact)):
        path.write_bytes(intact[:place] + bytes([intact[place] ^ 0xFF]) + intact[place + 1 :])
        try:
            assert list(kept) == [part]
        except UserError as error:
            assert f"{path}: damaged" in str(error)
