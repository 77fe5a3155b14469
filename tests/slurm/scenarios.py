"""What happens to trainings on a cluster: a study each, in a folder of its own.

The scenarios run side by side, a few at a time, since each mostly waits for a limit or a queue.
Faults come at a step of the training, never after a time. A trainer that has to wait for the
cluster is frozen meanwhile: so few steps are enough on any machine, fast or slow.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studies import ENVIRONMENT, FEW, LIMIT, ROOT, Study, kill, limit, roused, slurm, wait

EARLY, LATER = 20, 50  # steps at which a fault comes


def undisturbed_here(folder: Path) -> Study:
    """Without SLURM, in one go: what all others are compared with."""
    study = Study(folder)
    study.train_here()
    return study


def begun(folder: Path, step: int, **how: Any) -> tuple[Study, subprocess.Popen[bytes]]:
    """A study and its head, once the training has come to a step."""
    study = Study(folder, **how)
    study.prepare()
    head = study.head()
    study.wait_for_step(step)
    return study, head


def sit_out(study: Study, job: int) -> None:
    """Meet a time limit."""
    with study.frozen() as trainer:
        limit(job)
        wait("SLURM's signal", lambda: roused(trainer))


def meet_limits(study: Study, count: int, already: int = 0) -> None:
    """Let the next segments of a training end at a time limit, and the one after have room.

    already: limits that it has met before.
    """
    done = study.ends()[-1]["step"] if already else 0
    for generation in range(already, already + count):
        study.wait_for_step(done + 1, after=generation)
        job = study.starts()[-1]["job"]
        sit_out(study, job)
        wait("the end of a segment", lambda n=generation: len(study.ends()) > n)
        done = study.ends()[-1]["step"]
        limit(job, LIMIT)


def three_limits(folder: Path) -> Study:
    """As long as three jobs; SLURM's warning alone. Config and code are spoilt meanwhile."""
    study = Study(folder, warning=60, own_code=True)
    study.prepare()
    head = study.head()
    wait("a job", study.jobs)
    (folder / "study.yaml").write_text("lambdas: [")
    meet_limits(study, 1)
    for name in ("tacolab/__init__.py", "tacolab/stages/train/loop.py", "rules/train.smk"):
        (study.checkout / "workflow" / name).write_text("raise SystemExit('spoilt')\n")
    meet_limits(study, 1, already=1)
    assert study.finish(head) == 0, study.log()
    return study


def clock_alone(folder: Path) -> Study:
    """No warning: the trainer looks at the clock."""
    study = Study(folder, runtime=3, warning=None, margin_seconds=170)
    study.prepare()
    head = study.head()
    wait("the end of a segment", lambda: study.ends())
    limit(study.jobs()[-1], LIMIT)
    assert study.finish(head) == 0, study.log()
    return study


def time_limit(folder: Path) -> Study:
    """Neither: SLURM ends the job, the profile's retry submits it again."""
    study, head = begun(folder, EARLY, warning=None)
    sit_out(study, study.jobs()[-1])
    assert study.finish(head) == 0, study.log()
    return study


def killed_trainer(folder: Path) -> Study:
    study, head = begun(folder, EARLY)
    wait("a periodic checkpoint", lambda: list(study.state.glob("checkpoint-*.pt")))
    os.kill(study.trainer(), signal.SIGKILL)
    assert study.finish(head) == 0, study.log()
    return study


def cancelled(folder: Path) -> Study:
    """scancel, then the same command again."""
    study, head = begun(folder, EARLY)
    slurm("scancel", str(study.jobs()[-1]))
    assert study.finish(head) == 1
    study.noted = study.log(), study.segments(), study.jobs()
    assert study.run() == 0, study.log()
    return study


def node_down(folder: Path) -> Study:
    # On g7, where two jobs fit, the other one might be another study's.
    study, head = begun(folder, EARLY, options="--exclude=g7 ")
    node = slurm("squeue", "-h", "-j", str(study.jobs()[-1]), "-o", "%N")
    slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    try:
        assert study.finish(head) == 0, study.log()
    finally:
        # Refused where the node is back by itself.
        subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"])
    return study


def three_heads(folder: Path) -> Study:
    """kill -9 of a head while its job runs, of the next one while its job waits in the queue.

    That job comes back, leaves at once, and what runs it (Snakemake) fails, since it made no model:
    as late as can be, when its successor has just finished the one there is.
    """
    study, first = begun(folder, EARLY)
    with study.frozen():
        kill(first)
        second = study.head()
        wait("the second job to ask for the folder", study.asked)
    study.wait_for_step(LATER, after=1)  # the second job took over
    job = study.jobs()[-1]
    slurm("scontrol", "requeuehold", str(job))
    wait("the second job to wait in the queue", lambda: study.queue()[job] != "RUNNING")
    kill(second)
    third = study.head()
    study.wait_for_step(LATER, after=2)  # the third job took over
    with study.frozen() as owner:
        slurm("scontrol", "release", str(job))
        asks = re.compile(rf"process {owner} on \S+ may still work there")
        wait("the second job to look for the third", lambda: asks.search(study.log()))
    wait("the second job to leave", lambda: "nothing is left to do here" in study.log())
    runner = study.runner(job)
    runner.suspend()
    wait("the model", (study.model() / "model.json").exists)
    runner.resume()
    assert study.finish(third) == 0, study.log()
    wait("the second job to end", lambda: not study.queue())
    return study


def sleeper(folder: Path) -> Study:
    """A stopped trainer, taken for dead, wakes up while its successor trains."""
    study, first = begun(folder, EARLY)
    trainer = study.trainer()
    os.kill(trainer, signal.SIGSTOP)
    kill(first)
    head = study.head()
    study.wait_for_step(LATER, after=1)
    os.kill(trainer, signal.SIGCONT)
    wait("the older trainer to end", lambda: not Path(f"/proc/{trainer}").exists())
    assert study.finish(head) == 0, study.log()
    return study


def full_disk(folder: Path) -> Study:
    """The state folder is on a disk with room for two checkpoints; then it gets more."""
    study = Study(folder)
    study.prepare()
    disk = folder / "results/models"
    disk.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", disk], check=True)
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


def three_lambdas(folder: Path) -> Study:
    """More models than the allowance of GPUs; their data and captions are made by jobs, too."""
    study = Study(folder, FEW, lambdas=("0.01", "0.02", "0.03"))
    head = study.head()
    most = 0
    while head.poll() is None:
        most = max(most, len(study.queue("long")))
        time.sleep(1)
    assert head.returncode == 0, study.log()
    study.noted = most
    return study


def submitted(folder: Path) -> Study:
    """Without a head, past two time limits; the head comes later."""
    study = Study(folder, warning=60)
    study.prepare()
    command = ("train", "image-only", "0.01", "--submit", "--profile", "profile")
    first, second = study.tacolab(*command), study.tacolab(*command)
    assert first.returncode == 0, first.stderr
    meet_limits(study, 2)
    wait("the job to end", lambda: not study.queue())
    study.noted = first.stdout, second
    assert study.run() == 0, study.log()
    return study


def two_gpus(folder: Path) -> Study:
    """One training on both GPUs of a node."""
    study = Study(folder, FEW, gpus=2)
    study.prepare()
    assert study.run() == 0, study.log()
    return study


def head_as_a_job(folder: Path) -> Study:
    """profiles/slurm/head.sbatch, past the head's own time limit."""
    study = Study(folder)
    study.prepare()
    (folder / "profiles").mkdir()
    (folder / "profiles/slurm").symlink_to("../profile")
    job = subprocess.run(
        [
            *("sbatch", "--parsable", f"--time={LIMIT}", "--signal=B:USR1@60"),
            *("--mem=1G", str(ROOT / "profiles/slurm/head.sbatch")),
            *("--snakefile", str(ROOT / "Snakefile"), "--until", "train"),
            *("--configfile", "study.yaml"),
        ],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    study.wait_for_step(EARLY)
    with study.frozen():
        limit(int(job))
        wait("the head to be queued again", lambda: study.queue()[int(job)] != "RUNNING")
        limit(int(job), LIMIT)
        wait("the second job to ask for the folder", study.asked)
    wait("the head to end", lambda: not study.queue())
    study.noted = int(job), (folder / f"head-{job}.log").read_text()
    return study


SCENARIOS: list[Callable[[Path], Study]] = [
    three_limits,
    time_limit,
    clock_alone,
    submitted,
    head_as_a_job,
    three_lambdas,
    cancelled,
    three_heads,
    full_disk,
    node_down,
    sleeper,
    killed_trainer,
    two_gpus,
]
