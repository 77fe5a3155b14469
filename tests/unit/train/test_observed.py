"""What an onlooker sees of real trainings: of one that runs, was killed, failed, is done."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import small_training
from tacolab import config
from tacolab.overview.trainings import Observer, TrainingStatus
from tacolab.plan import Plan

ARM = "image-only"  # loads no text encoder


def observe(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> TrainingStatus:
    """The training of arm `image-only` in `folder`, on a machine without SLURM."""
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PATH", os.devnull)
        look = Observer(Plan(config.validate(small_training.study(**changes), "test"))).look()
    (training,) = (training for training in look.trainings if training.arm == ARM)
    return training


@pytest.mark.slow
def test_from_the_first_step_to_the_last(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert observe(folder, monkeypatch).state == "missing"

    command = small_training.command(folder, "--stop-after", "0")
    assert subprocess.run(command, cwd=folder).returncode == 75
    training = observe(folder, monkeypatch)
    assert (training.state, training.problems, training.saved) == ("stopped", [], 1)
    assert (training.steps, training.epoch, training.segments) == (12, 0.5, 1)

    small_training.finish(folder, ARM, sabotage=("in_step", 9))  # two optimisers: in its fifth step
    training = observe(folder, monkeypatch)
    assert (training.state, training.problems) == ("stopped", ["killed"])
    assert (training.saved, training.logged, training.segments) == (5, 3, 2)
    assert training.loss is not None and training.loss > 0

    process = small_training.start(folder, ARM)
    while (training := observe(folder, monkeypatch)).state != "running":
        assert process.is_alive()
        time.sleep(0.1)
    assert (training.problems, training.place) == ([], os.uname().nodename)
    process.join(240)
    training = observe(folder, monkeypatch)
    assert (training.state, training.problems, training.saved) == ("done", [], 12)
    assert (training.segments, training.logged, training.seconds_left) == (3, 12, None)
    assert training.samples_per_second is not None


@pytest.mark.slow
def test_a_loss_that_is_not_finite(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wild = {"learning_rate": 1e30, "clip_norm": 1e30}
    command = small_training.command(folder, training=wild)
    assert subprocess.run(command, cwd=folder).returncode == 1
    training = observe(folder, monkeypatch, training=wild)
    (problem,) = training.problems
    assert training.state == "stopped"
    assert problem.startswith("failed: ") and " is not finite at step " in problem
