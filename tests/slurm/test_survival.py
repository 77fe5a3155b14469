"""A training on a real SLURM ends with the weights of an undisturbed one, whatever happens.

The scenarios run side by side, a few at a time, since each mostly waits for a limit or a queue; a
test is the outcome of one of them. Faults come at a step of the training, never after a time.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from studies import LONG, MEDIUM, SHORT, TRIPLE, Study, job_state, kill, slurm, wait

pytestmark = pytest.mark.slurm
AT_ONCE = 4
HALF = SHORT // 2


def undisturbed_here(folder: Path) -> Study:
    """Without SLURM, in one go: what all others are compared with."""
    study = Study(folder, LONG)
    study.train_here()
    return study


def three_limits(folder: Path) -> Study:
    """Longer than three jobs may last; SLURM's warning alone."""
    study = Study(folder, LONG)
    assert study.run() == 0, study.log()
    return study


def clock_alone(folder: Path) -> Study:
    """No warning: the trainer looks at the clock."""
    study = Study(folder, MEDIUM, warning=None, margin_seconds=30)
    assert study.run() == 0, study.log()
    return study


def time_limit(folder: Path) -> Study:
    """Neither: SLURM ends the job, the profile's retry submits it again."""
    study = Study(folder, MEDIUM, warning=None)
    assert study.run() == 0, study.log()
    return study


def killed_trainer(folder: Path) -> Study:
    study = Study(folder, SHORT)
    head = study.head()
    study.wait_for_step(HALF)
    os.kill(study.trainer(), signal.SIGKILL)
    assert head.wait(600) == 0, study.log()
    return study


def cancelled(folder: Path) -> Study:
    """scancel, then the same command again."""
    study = Study(folder, SHORT)
    head = study.head()
    study.wait_for_step(HALF)
    slurm("scancel", str(study.jobs()[-1]))
    assert head.wait(600) == 1
    study.noted = study.log(), study.segments(), study.jobs()
    assert study.run() == 0, study.log()
    return study


def node_down(folder: Path) -> Study:
    study = Study(folder, SHORT)
    head = study.head()
    study.wait_for_step(HALF)
    node = slurm("squeue", "-h", "-j", str(study.jobs()[-1]), "-o", "%N")
    slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    try:
        assert head.wait(600) == 0, study.log()
    finally:
        slurm("scontrol", "update", f"nodename={node}", "state=resume")
    return study


def three_heads(folder: Path) -> Study:
    """kill -9 of a head while its job runs, of the next one while its job waits in the queue."""
    study = Study(folder, TRIPLE)
    first = study.head()
    study.wait_for_step(HALF)
    kill(first)
    second = study.head()
    study.wait_for_step(2 * HALF, after=1)  # the second job took over
    slurm("scontrol", "requeue", str(study.jobs()[-1]))
    wait(
        "the second job to wait in the queue",
        lambda: study.queue()[study.jobs()[-1]] == "PENDING",
    )
    kill(second)
    assert study.run() == 0, study.log()
    wait("the older jobs to end", lambda: not study.queue())
    return study


def sleeper(folder: Path) -> Study:
    """A stopped trainer, taken for dead, wakes up while its successor trains."""
    study = Study(folder, TRIPLE)
    first = study.head()
    study.wait_for_step(HALF)
    trainer = study.trainer()
    os.kill(trainer, signal.SIGSTOP)
    kill(first)
    head = study.head()
    study.wait_for_step(2 * HALF, after=1)
    os.kill(trainer, signal.SIGCONT)
    wait("the older trainer to end", lambda: not Path(f"/proc/{trainer}").exists())
    assert head.wait(600) == 0, study.log()
    return study


def full_disk(folder: Path) -> Study:
    """The state folder is on a disk with room for two checkpoints; then it gets more."""
    study = Study(folder, SHORT)
    disk = folder / "results/models"
    disk.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", disk], check=True)
    try:
        assert study.run() == 1
        study.noted = study.log(), study.segments(), study.jobs()
        subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
        assert study.run() == 0, study.log()
    finally:
        kept = folder / "kept"
        subprocess.run(["cp", "-a", disk, kept], check=True)
        subprocess.run(["umount", disk], check=True)
        disk.rmdir()
        kept.rename(disk)
    return study


def six_lambdas(folder: Path) -> Study:
    """More models than the allowance of GPUs."""
    study = Study(folder, SHORT, lambdas=("0.01", "0.02", "0.03", "0.04", "0.05", "0.06"))
    head = study.head()
    most = 0
    while head.poll() is None:
        most = max(most, len(study.queue("gpu")))
        time.sleep(1)
    assert head.returncode == 0, study.log()
    study.noted = most
    return study


SCENARIOS: list[Callable[[Path], Study]] = [
    three_limits,
    undisturbed_here,
    time_limit,
    clock_alone,
    six_lambdas,
    cancelled,
    three_heads,
    full_disk,
    node_down,
    sleeper,
    killed_trainer,
]


@pytest.fixture(scope="module")
def outcomes(
    cluster: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Study]]]:
    """The scenarios, begun longest first."""
    folder = tmp_path_factory.mktemp("survival")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {f.__name__: pool.submit(f, folder / f.__name__) for f in SCENARIOS}


@pytest.fixture
def undisturbed(outcomes: dict[str, Future[Study]]) -> Study:
    return outcomes["undisturbed_here"].result()


def test_three_limits_are_one_job(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
    """SLURM's warning: save, queue again, go on; Snakemake sees one long job and no failure."""
    study = outcomes["three_limits"].result()
    study.assert_equal(undisturbed)
    assert len(study.jobs()) == 1 and len(study.starts()) >= 3
    ends = [line for line in study.segments() if line["event"] == "end"]
    assert len(ends) == len(study.starts())  # nobody was killed
    assert {line["why"] for line in ends[:-1]} == {"SLURM's warning before the time limit"}
    # No step is lost: each segment goes on where the one before it ended.
    assert [s["step"] for s in study.starts()[1:]] == [e["step"] for e in ends[:-1]]
    assert "Trying to restart" not in study.log()


def test_the_clock_is_enough(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
    study = outcomes["clock_alone"].result()
    study.assert_equal(undisturbed)
    assert len(study.jobs()) == 1 and len(study.starts()) >= 2
    assert "s before the time limit: saved at step" in study.log()


def test_a_job_at_its_limit_is_retried(
    outcomes: dict[str, Future[Study]], undisturbed: Study
) -> None:
    study = outcomes["time_limit"].result()
    study.assert_equal(undisturbed)
    assert len(study.jobs()) == 2
    assert job_state(study.jobs()[0]) == "TIMEOUT"


def test_killed_trainer_is_retried(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
    study = outcomes["killed_trainer"].result()
    study.assert_equal(undisturbed)
    assert len(study.jobs()) == 2
    assert 0 < study.starts()[1]["step"] < SHORT  # from a periodic checkpoint


def test_cancelled_is_saved_and_not_revived(
    outcomes: dict[str, Future[Study]], undisturbed: Study
) -> None:
    study = outcomes["cancelled"].result()
    study.assert_equal(undisturbed)
    log, segments, jobs = study.noted
    assert [line["event"] for line in segments] == ["start", "end"]
    assert segments[1]["cancelled"] and segments[1]["step"] >= HALF
    assert "was cancelled at step" in log and "a retry does not revive it" in log
    assert len(jobs) == 2  # the retry ended in seconds
    assert study.starts()[1]["step"] == segments[1]["step"]


def test_node_that_fails(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
    """SLURM queues the job again by itself; Snakemake waits."""
    study = outcomes["node_down"].result()
    study.assert_equal(undisturbed)
    assert len(study.jobs()) == 1 and len(study.starts()) == 2


def test_heads_in_turn(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
    study = outcomes["three_heads"].result()
    study.assert_equal(undisturbed)
    log = study.log()
    assert "LockException" not in log
    assert len(study.jobs()) == 3
    assert "handed over to SLURM job" in log
    assert "nothing is left to do here" in log  # the second job, back from the queue
    # No ping-pong: each job had the folder once, in the order of their ids.
    owners = [line["job"] for line in study.starts()]
    assert list(dict.fromkeys(owners)) == sorted(set(owners)) == study.jobs()
    # Handed over, so that no step was lost.
    assert study.starts()[1]["step"] == study.segments()[1]["step"] >= HALF


def test_sleeper_does_no_harm(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
    study = outcomes["sleeper"].result()
    study.assert_equal(undisturbed)
    assert "nothing is left to do here" in study.log()


def test_full_disk(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
    study = outcomes["full_disk"].result()
    study.assert_equal(undisturbed)
    log, segments, _ = study.noted
    message = re.search(r"tacolab: (.*)/state: the disk or the quota is full: .*", log)
    assert message is not None and "MiB beside the two that are kept" in message[0]
    saved = [line["step"] for line in segments if line["event"] == "end"]
    assert saved[0] > 0 and study.starts()[-1]["step"] == saved[-1]


def test_allowance_of_gpus(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
    study = outcomes["six_lambdas"].result()
    study.assert_equal(undisturbed, "0.01")
    assert study.noted == 2
    assert len(list(study.folder.glob("results/models/**/model.safetensors"))) == 6
