"""What a trainer in a SLURM job decides by itself; the cluster's part is in tests/slurm."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import small_training
from equality import assert_equal
from tacolab.errors import StageError
from tacolab.stages.train.segment_log import SegmentLog
from tacolab.stages.train.stop import SIGNALS, StopRequests

ARM = "image-only"  # loads no text encoder
RARE = {"log_every": 3, "checkpoint_minutes": 1000, "workers": 0}


@pytest.mark.slow
def test_warning_saves_and_a_refused_requeue_exits_75(
    folder: Path, undisturbed_image_only: Path
) -> None:
    """SIGURG in a job whose SLURM is out of reach: saved, to be submitted anew by a retry."""
    outside = os.environ | {"SLURM_JOB_ID": "7", "PATH": str(Path(sys.executable).parent)}
    process = subprocess.Popen(
        small_training.command(folder, execution=RARE),
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        env=outside,
    )
    log = small_training.model_folder(folder, ARM) / "state/train.log"
    while not (log.exists() and "step 3/12" in log.read_text()):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGURG)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert "SLURM's warning before the time limit: saved at step" in errors
    assert "scontrol requeue 7" in errors
    again = small_training.rule_command(folder, "--attempt", "2", execution=RARE)
    retried = subprocess.run(again, cwd=folder, env=outside)
    assert retried.returncode == 0
    assert_equal(small_training.model_folder(folder, ARM), undisturbed_image_only)


@pytest.mark.slow
def test_sleeper_that_wakes_in_a_save_is_no_failure(
    folder: Path, undisturbed_image_only: Path
) -> None:
    """Its half-written checkpoint was tidied up by its successor, whose log it leaves alone."""
    impatient = {"log_every": 3, "checkpoint_minutes": small_training.EVERY_STEP, "workers": 0}
    command = small_training.command(folder, execution=impatient | {"lease_seconds": 3})
    sleeper = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    state = small_training.model_folder(folder, ARM) / "state"
    half = state / ".checkpoint-000001.tmp"
    while not half.exists():
        sleeper.send_signal(signal.SIGCONT)
        time.sleep(0.002)
        sleeper.send_signal(signal.SIGSTOP)
        assert sleeper.poll() is None
    assert subprocess.run(command, cwd=folder).returncode == 0
    assert not half.exists()
    sleeper.send_signal(signal.SIGCONT)
    _, errors = sleeper.communicate(timeout=60)
    assert sleeper.returncode == 0  # the model is there
    assert "another job has made it meanwhile" in errors and "was taken over by" in errors
    assert [line["generation"] for line in SegmentLog(state / "segments.jsonl").lines()] == [
        1,
        2,
        2,
    ]
    assert_equal(small_training.model_folder(folder, ARM), undisturbed_image_only)


@pytest.mark.slow
def test_no_retry_of_what_gained_nothing(folder: Path) -> None:
    """A loss that is not finite in the first steps would be so again; a person may try again."""
    wild = {"learning_rate": 1e30, "clip_norm": 1e30}
    never = {"checkpoint_minutes": 1000, "workers": 0}

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        job = os.environ | {"SLURM_JOB_ID": options[-1]}
        make = small_training.rule_command
        line = make(folder, *options[:-1], training=wild, execution=never)
        return subprocess.run(line, cwd=folder, capture_output=True, text=True, env=job)

    first = run("7")
    assert first.returncode == 1 and "is not finite" in first.stderr
    retried = run("--attempt", "2", "8")
    assert retried.returncode == 1
    assert "the last segment gained no step" in retried.stderr
    by_hand = run("9")
    assert "is not finite" in by_hand.stderr


def test_retry_does_not_revive_what_was_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments = SegmentLog(tmp_path / "segments.jsonl")
    segments.check_retry()  # nothing ran yet
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    segments.start(generation=1, step=0, steps=10)
    segments.check_retry()  # killed: a retry is right
    segments.saved = 4
    segments.end("SIGTERM", cancelled=True)
    segments.check_retry()  # the same job again: it was preempted, not cancelled
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    with pytest.raises(StageError, match="job 7 was cancelled at step 4"):
        segments.check_retry()


def test_a_warning_does_not_revive_a_cancelled_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr("tacolab.cluster.slurm.seconds_left", lambda job: None)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        stop = StopRequests()
        for number in (signal.SIGTERM, signal.SIGURG):
            os.kill(os.getpid(), number)
        assert stop.reason is not None
        assert stop.reason.cancelled and not stop.reason.again
        warned = StopRequests()
        os.kill(os.getpid(), signal.SIGURG)
        assert warned.reason is not None and warned.reason.again
        os.kill(os.getpid(), signal.SIGTERM)  # cancelled while it saves
        assert warned.reason.cancelled and not warned.reason.again
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_torn_line_takes_no_other_with_it(tmp_path: Path) -> None:
    """What a full disk or a power cut leaves of a line."""
    segments = SegmentLog(tmp_path / "segments.jsonl")
    segments.start(generation=1, step=0, steps=10)
    with segments.path.open("ab") as file:
        file.write(b'{"event": "end", "wh\xff')
    segments.start(generation=2, step=4, steps=10)
    assert [line["step"] for line in segments.lines()] == [0, 4]


@pytest.mark.parametrize(("reason", "cancelled"), [("TimeLimit", False), ("None", True)])
def test_the_end_of_a_job_at_its_limit_is_no_cancellation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str, cancelled: bool
) -> None:
    """SIGTERM tells a person's scancel by the reason that squeue (22.05) gives while a job ends."""
    squeue = tmp_path / "squeue"
    squeue.write_text(f'#!/bin/sh\ncase "$*" in *%r*) echo {reason} ;; *) echo 20:00 ;; esac\n')
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        stop = StopRequests()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason is not None and stop.reason.cancelled is cancelled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
