"""Two jobs on one artefact, where a head died and its job lives on; and what killed ones leave."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_evaluation import find, killed, make, plan, study

from tacolab import cli
from tacolab.files.parts import Part, Parts
from tacolab.overview import artefacts as status
from tacolab.plan import Artefact, leftovers

ARM = "image-only"  # reads no text: there is no encoder to load

Tacolab = Callable[..., int]


@pytest.fixture
def tacolab(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Tacolab:
    """tacolab(step): the exit code of `tacolab evaluate`, run here."""
    (folder / "study.json").write_text(json.dumps(study()))

    def run(step: str) -> int:
        command = ["evaluate", ARM, "0.01", "set", "--step", step, "--config", "study.json"]
        monkeypatch.setattr(sys, "argv", ["tacolab", *command, "--threads", "1"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0)

    return run


def holds(artefact: Artefact) -> bool:
    """Whether its folder holds what is declared, and nothing else."""
    return sorted(artefact.folder.iterdir()) == sorted(artefact.files)


def saving(self: Parts, which: range, part: Part, real: Any = Parts.save) -> None:
    """A part is computed, and meanwhile another job has made everything."""
    other_job()
    real(self, which, part)


def reading(self: Parts, real: Any = Parts.__iter__) -> Iterator[Part]:
    """All parts are there, and another job that has read them removes them."""
    other_job()
    return iter(real(self))


def other_job() -> None:
    raise NotImplementedError


@pytest.mark.parametrize("step", ["code", "metrics"])
@pytest.mark.parametrize(("method", "meanwhile"), [("save", saving), ("__iter__", reading)])
def test_the_slower_of_two_jobs_ends_well(
    folder: Path,
    tacolab: Tacolab,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    method: str,
    meanwhile: Any,
) -> None:
    if step == "metrics":
        make(plan(), "code", ARM)
    artefact = find(plan(), step, ARM)
    made: list[bytes] = []

    def other() -> None:
        monkeypatch.undo()  # its own parts are saved and read in peace
        monkeypatch.chdir(folder)
        make(plan(), step, ARM)
        made.append(artefact.path.read_bytes())

    monkeypatch.setattr(f"{__name__}.other_job", other)
    monkeypatch.setattr(Parts, method, meanwhile)
    assert tacolab(step) == 0
    assert made == [artefact.path.read_bytes()]
    assert holds(artefact)


def test_a_job_whose_parts_are_taken_away_says_so(
    tacolab: Tacolab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    artefact = find(plan(), "code", ARM)

    def somebody() -> None:
        for path in artefact.begun:
            path.rename("elsewhere")

    monkeypatch.setattr(f"{__name__}.other_job", somebody)
    monkeypatch.setattr(Parts, "save", saving)
    assert tacolab("code") == 1
    assert "state/parts: was removed while its parts were made; start again" in (
        capsys.readouterr().err
    )
    assert not artefact.done


def test_what_a_kill_leaves_of_a_complete_coding_goes_by_any_start(
    folder: Path, tacolab: Tacolab
) -> None:
    """A kill in the last removal: nothing is to be made again, so no job would tidy up."""
    assert killed(folder, "code", "tidying", 1, ARM) == -signal.SIGKILL
    codes = find(plan(), "code", ARM)
    assert codes.done
    state = codes.folder / "state"
    copy = {path: path.stat().st_mtime_ns for path in codes.files}
    assert [path for path in status.orphans([plan()]) if path.is_relative_to(codes.folder)] == [
        state
    ]
    (state / "more").mkdir()
    leftovers.sweep(plan())  # as a head does
    assert holds(codes)
    state.mkdir()
    assert tacolab("code") == 0
    assert holds(codes)
    assert {path: path.stat().st_mtime_ns for path in codes.files} == copy


def test_what_a_kill_leaves_of_an_incomplete_one_is_gone_on_with(folder: Path) -> None:
    """In the middle of streams.zip, the third file that is written."""
    assert killed(folder, "code", "half_written", 3, ARM) == -signal.SIGKILL
    codes = find(plan(), "code", ARM)
    (left,) = codes.folder.glob(".*.streams.zip")
    parts = sorted((codes.folder / "state/parts").iterdir())
    leftovers.sweep(plan())
    assert not left.exists()
    assert sorted((codes.folder / "state/parts").iterdir()) == parts != []
    left.touch()  # had no head come
    make(plan(), "code", ARM)
    assert holds(codes)
