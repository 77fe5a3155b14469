"""A file is there whole or not at all, whatever ends the writing."""

import dataclasses
import json
import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from tacolab.files import atomic
from tacolab.files.process import Process

_processes = multiprocessing.get_context("forkserver")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_appears_whole_and_in_new_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.bin"
    atomic.write_bytes(path, b"new")
    assert contents(path.parent) == {"file.bin": b"new"}


def test_nothing_is_at_the_place_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(b"half")
        assert not path.exists()
        assert temporary.parent == path.parent  # else moving would copy
        assert temporary.suffix == path.suffix  # writers choose their format by it
    assert contents(tmp_path) == {"table.parquet": b"half"}


@pytest.mark.parametrize("failure", [ValueError("disk full"), KeyboardInterrupt(), SystemExit(75)])
def test_a_failure_keeps_the_old_file_and_leaves_nothing(
    tmp_path: Path, failure: BaseException
) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def save(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise failure

    with pytest.raises(type(failure)):
        atomic.write(path, save)
    assert contents(tmp_path) == {"file.bin": b"old"}


def test_a_writer_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError):
        atomic.write(path, lambda temporary: None)
    assert contents(tmp_path) == {"file.bin": b"old"}


def _die_while_writing(path: Path) -> None:
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_writer_keeps_the_old_file_and_hinders_no_later_one(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    process = _processes.Process(target=_die_while_writing, args=(path,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    # What is left is hidden, so that nobody takes it for a result.
    assert len(contents(tmp_path)) == 2
    assert all(name == "file.bin" or name.startswith(".") for name in contents(tmp_path))
    atomic.write_bytes(path, b"new")
    assert contents(tmp_path) == {"file.bin": b"new"}


def _write_until(end: Event, path: Path, begun: Event) -> None:
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(b"slow")
        begun.set()
        end.wait(60)


def test_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    end, begun = _processes.Event(), _processes.Event()
    process = _processes.Process(target=_write_until, args=(end, path, begun))
    process.start()
    assert begun.wait(60)
    atomic.write_bytes(path, b"quick")
    end.set()
    process.join(60)
    assert process.exitcode == 0
    assert contents(tmp_path) == {"file.bin": b"slow"}


@pytest.mark.parametrize(
    ("other", "stays"),
    [
        ({"machine": "01234567"}, True),  # its pid says nothing here
        ({"start": "1"}, False),  # an earlier process had this pid
        ({"start": ""}, True),  # of a system that does not tell
    ],
)
def test_a_temporary_file_goes_only_where_its_process_is_known_to_have_ended(
    tmp_path: Path, other: dict[str, str], stays: bool
) -> None:
    path = tmp_path / "file.bin"
    process = dataclasses.replace(Process.me(), **other)
    left = tmp_path / f".{process}.tmp.file.bin"
    assert atomic.owner(left) == process
    foreign = [left, tmp_path / ".123.tmp.file.bin", tmp_path / f".{process}.tmp.another.bin"]
    for file in foreign:
        file.touch()
    atomic.write_bytes(path, b"new")
    assert [file.exists() for file in foreign] == [stays, True, True]


def test_who_may_live_elsewhere_is_taken_for_dead_after_a_day_of_silence(tmp_path: Path) -> None:
    elsewhere = dataclasses.replace(Process.me(), machine="01234567")
    file, folder = (tmp_path / f".{elsewhere}.tmp.{name}" for name in ("file", "folder"))
    file.touch()
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/table").touch()
    now = time.time()
    for age in (atomic.SILENT - 60, atomic.SILENT + 60):
        for path in (file, folder / "deep/table", folder / "deep", folder):
            os.utime(path, (now - age, now - age))
        atomic.clear(tmp_path / "file")
        atomic.clear(tmp_path / "folder")
        assert file.exists() == folder.exists() == (age < atomic.SILENT)
    mine = tmp_path / f".{Process.me()}.tmp.file"
    mine.touch()
    os.utime(mine, (0, 0))  # I live, however long I say nothing
    atomic.clear(tmp_path / "file")
    assert mine.exists()


def test_a_workspace_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="no"),
        atomic.workspace(tmp_path / "new" / "set") as folder,
    ):
        assert folder.parent == tmp_path / "new"
        (folder / "deep").mkdir()
        raise ValueError("no")
    assert [*(tmp_path / "new").iterdir()] == []


def test_a_link_leads_somewhere_at_every_moment(tmp_path: Path) -> None:
    link = tmp_path / "newest"
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
        atomic.link(link, name)
        assert link.read_text() == name and link.is_symlink()
    assert len([*tmp_path.iterdir()]) == 3


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_refuses_what_other_readers_cannot_read(tmp_path: Path, number: float) -> None:
    path = tmp_path / "summary.json"
    atomic.write_json(path, {"old": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        atomic.write_json(path, {"psnr": number})
    assert json.loads(path.read_text()) == {"old": 1}
    assert list(contents(tmp_path)) == ["summary.json"]


def test_json_is_for_people(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    atomic.write_json(path, {"caption": "ein Bär 🐻"})
    assert path.read_text(encoding="utf-8") == '{\n  "caption": "ein Bär 🐻"\n}\n'
