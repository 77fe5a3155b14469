"""What killed writers have left of an artefact goes before it is made again."""

import dataclasses
import os
from pathlib import Path

import pytest

from tacolab.cluster import slurm
from tacolab.files import atomic
from tacolab.files.process import Process
from tacolab.plan import Artefact, leftovers
from tacolab.plan.stages import DATA


@pytest.mark.parametrize(
    ("job", "state", "stays"),
    [
        (None, None, True),  # nothing tells of it
        (17, None, True),  # SLURM does not answer
        (17, "RUNNING", True),
        (17, "SUSPENDED", True),
        (17, "PENDING", False),  # queued again: what it wrote before has ended
        (17, "GONE", False),
    ],
)
@pytest.mark.parametrize("old", [False, True])
def test_slurm_tells_of_jobs_on_other_machines(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    job: int | None,
    state: str | None,
    stays: bool,
    old: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr(slurm, "state", lambda _: state)
    process = dataclasses.replace(Process.me(), machine="01234567", job=job)
    artefact = Artefact(DATA, {"dataset": "set"}, {})
    artefact.folder.mkdir(parents=True)
    left = artefact.folder.parent / f".{process}.tmp.{artefact.key}"  # a folder that was packed
    left.mkdir()
    file = artefact.folder / f".{process}.tmp.{artefact.path.name}"
    foreign = artefact.folder / f".{process}.tmp.another.json"
    for path in (file, foreign):
        path.touch()
    if old:
        for path in (left, file, foreign):
            os.utime(path, (0, 0))
    leftovers.tidy(artefact)
    stays = stays and not (old and state is None)
    assert (left.exists(), file.exists(), foreign.exists()) == (stays, stays, True)
    assert (left in {*leftovers.left([])}) is False
    leftovers.sweep([])  # type: ignore[arg-type]  # a plan without artefacts
    assert foreign.exists() == stays
    assert atomic.owner(file) == process
