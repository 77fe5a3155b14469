"""Jobs run the code as it was planned: the copy that they run is whole, or made again."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tacolab.errors import UserError
from tacolab.overview.artefacts import delete
from tacolab.plan import snapshots
from tacolab.plan.snapshots import code, keep_code


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return keep_code()


def test_the_copy_runs_by_itself_and_knows_what_it_is(copy: Path) -> None:
    assert copy == Path("results/code") / code()
    told = "from tacolab.plan import snapshots as s; print(s.code(), s.revision())"
    done = subprocess.run(
        [sys.executable, "-c", told],
        env={"PYTHONPATH": str(copy / "workflow")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [code(), snapshots.revision() or "None"]
    assert not list(copy.rglob("*.egg-info")) and not list(Path("results/code").glob(".*"))


@pytest.mark.parametrize("damage", ["emptied", "a module lost", "a module changed", "a file"])
def test_a_damaged_copy_is_made_again(copy: Path, damage: str) -> None:
    module = copy / "workflow/tacolab/errors.py"
    whole = module.read_bytes()
    if damage == "a module lost":
        module.unlink()
    elif damage == "a module changed":
        module.write_text("raise SystemExit\n")
    else:
        shutil.rmtree(copy)
        copy.mkdir() if damage == "emptied" else copy.touch()
    assert keep_code() == copy
    assert module.read_bytes() == whole and (copy / "workflow/bin/tacolab").is_file()


def test_a_whole_copy_is_left_alone(copy: Path) -> None:
    before = (copy / "revision").stat().st_mtime_ns
    assert keep_code() == copy
    assert (copy / "revision").stat().st_mtime_ns == before


def test_a_link_in_place_of_a_copy_is_deleted_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    theirs, lost = tmp_path / "theirs", Path("results/code/01234567")
    theirs.mkdir()
    lost.parent.mkdir(parents=True)
    lost.symlink_to(theirs)
    delete(lost)
    assert theirs.exists() and not lost.is_symlink()
    with pytest.raises(UserError, match="nothing is deleted there"):
        delete(theirs)
