"""A training on a real SLURM ends with the weights of an undisturbed one, whatever happens.

`test_x` judges the outcome of scenario `x`.
"""

import re
from concurrent.futures import Future

import pytest

from scenarios import EARLY
from studies import FEW, STEPS, Study, job_state, slurm

pytestmark = pytest.mark.slurm


@pytest.fixture
def undisturbed(outcomes: dict[str, Future[Study]]) -> Study:
    return outcomes["undisturbed_here"].result()


def test_three_limits(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
    """SLURM's warning: save, queue again, go on; Snakemake sees one long job and no failure."""
    study = outcomes["three_limits"].result()
    study.assert_equal(undisturbed)
    assert len(study.jobs()) == 1 and len(study.starts()) >= 3
    ends = study.ends()
    assert len(ends) == len(study.starts())  # nobody was killed
    assert {line["why"] for line in ends[:-1]} == {"SLURM's warning before the time limit"}
    # No step is lost: each segment goes on where the one before it ended.
    assert [s["step"] for s in study.starts()[1:]] == [e["step"] for e in ends[:-1]]
    assert "Trying to restart" not in study.log()


def test_clock_alone(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
    study = outcomes["clock_alone"].result()
    study.assert_equal(undisturbed)
    assert len(study.jobs()) == 1 and len(study.starts()) >= 2
    assert all("s before the time limit" in line["why"] for line in study.ends()[:-1])


def test_time_limit(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
    study = outcomes["time_limit"].result()
    study.assert_equal(undisturbed)
    jobs = study.jobs()
    assert [job_state(job) for job in jobs] == ["TIMEOUT"] * (len(jobs) - 1) + ["COMPLETED"]
    assert len(jobs) == len(study.starts()) >= 2


def test_killed_trainer(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
    study = outcomes["killed_trainer"].result()
    study.assert_equal(undisturbed)
    assert len(study.jobs()) == 2
    assert 0 < study.starts()[1]["step"] < STEPS  # from a periodic checkpoint


def test_cancelled(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
    study = outcomes["cancelled"].result()
    study.assert_equal(undisturbed)
    log, segments, jobs = study.noted
    assert [line["event"] for line in segments] == ["start", "end"]
    assert segments[1]["cancelled"] and segments[1]["step"] >= EARLY
    assert "was cancelled at step" in log and "a retry does not revive it" in log
    assert len(jobs) == 2  # the retry ended in seconds
    assert study.starts()[1]["step"] == segments[1]["step"]


def test_node_down(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
    """SLURM queues the job again by itself; Snakemake waits."""
    study = outcomes["node_down"].result()
    study.assert_equal(undisturbed)
    assert len(study.jobs()) == 1 and len(study.starts()) == 2


def test_three_heads(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
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
    assert study.starts()[1]["step"] == study.segments()[1]["step"] >= EARLY


def test_sleeper(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
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


def test_three_lambdas(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
    study = outcomes["three_lambdas"].result()
    study.assert_equal(undisturbed, "0.01")
    assert study.noted == 2
    assert len(list(study.folder.glob("results/models/**/model.safetensors"))) == 3


def test_submitted(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
    study = outcomes["submitted"].result()
    study.assert_equal(undisturbed)
    said, second = study.noted
    match = re.match(r"job (\d+) trains", said)
    assert match is not None
    job = int(match[1])
    assert {line["job"] for line in study.starts()} == {job} and len(study.starts()) >= 3
    assert second.returncode == 2 and f"job {job} trains it already" in second.stderr
    assert study.jobs() == []  # the workflow found the model


def test_two_gpus(outcomes: dict[str, Future[Study]]) -> None:
    """One task on one node, which starts both ranks; equality is the business of unit tests."""
    study = outcomes["two_gpus"].result()
    (job,) = study.jobs()
    told = slurm("sacct", "-n", "-P", "-j", f"{job}", "-o", "JobID,NNodes,NTasks,AllocTRES")
    rows = {line.split("|")[0]: line.split("|")[1:] for line in told.splitlines()}
    assert rows[f"{job}"][0] == "1" and "gres/gpu=2" in rows[f"{job}"][2]
    assert rows[f"{job}.0"][:2] == ["1", "1"]
    assert study.starts()[0]["steps"] == FEW and len(study.starts()) == 1


def test_head_as_a_job(outcomes: dict[str, Future[Study]], undisturbed: Study) -> None:
    study = outcomes["head_as_a_job"].result()
    study.assert_equal(undisturbed)
    job, said = study.noted
    assert job_state(job) == "COMPLETED"
    assert said.count("Building DAG of jobs...") >= 2 and "LockException" not in said
    assert "handed over to SLURM job" in study.log()
