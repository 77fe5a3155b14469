"""Packed data on a node's own disk: whole, once, and never a reason to fail."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tacolab.stages.train.staging import staged


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    folder = tmp_path / "results/data/set/12345678"
    folder.mkdir(parents=True)
    (folder / "data.arrow").write_bytes(bytes(range(256)) * 100)
    (folder / "manifest.json").write_text("{}")
    return folder


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    monkeypatch.setenv("LOCAL", str(folder))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_jobs_that_share_a_disk_copy_once(
    packed: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = []
    copytree = shutil.copytree
    monkeypatch.setattr(shutil, "copytree", lambda *a: (copies.append(a), copytree(*a)))
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: staged(packed, "$LOCAL"), range(4)))
    (copy,) = found
    assert copy.parent == disk and content(copy) == content(packed)
    assert len(copies) == 1


def test_what_a_killed_job_left_is_replaced(
    packed: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(source: Path, target: Path) -> None:
        target.mkdir()
        (target / "data.arrow").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shutil, "copytree", killed)
        staged(packed, "$LOCAL")
    assert content(staged(packed, "$LOCAL")) == content(packed)
    assert not list(disk.glob("*.partial"))


def test_a_copy_that_was_thinned_out_is_made_again(packed: Path, disk: Path) -> None:
    (staged(packed, "$LOCAL") / "data.arrow").unlink()
    assert content(staged(packed, "$LOCAL")) == content(packed)


def test_without_room_or_disk_the_data_is_read_where_it_lies(
    packed: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert staged(packed, "$LOCAL/nowhere") == packed
    assert staged(packed, "$UNSET") == staged(packed, "${UNSET:-/tmp}") == packed
    real: Any = shutil.disk_usage(disk)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=2**30))
    assert staged(packed, "$LOCAL") == packed
    assert [path.suffix for path in disk.iterdir()] == [".lock"]


def test_the_disk_may_be_in_the_home(
    packed: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(disk.parent))
    assert staged(packed, "~/disk").parent == disk
    assert staged(packed, "${LOCAL}/").parent == disk
    assert not Path("~").exists()


def test_a_folder_named_like_a_variable_is_no_disk(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("$UNSET").mkdir()
    assert staged(packed, "$UNSET") == packed
    assert not list(Path("$UNSET").iterdir())
