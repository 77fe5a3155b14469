"""What the package asks SLURM, and what it tells it: to queue a job again, to cancel some."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tacolab.errors import StageError, UserError

# States of a job whose processes may run; every other state in the queue waits.
RUNNING = {"RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT"}
SECONDS = 60  # a busy controller may take long to answer


@dataclass(frozen=True)
class QueuedJob:
    """A job in the queue, as squeue tells of it."""

    id: int
    state: str
    reason: str  # why it waits
    nodes: str
    left: float | None  # seconds to its time limit, all of them while it waits; None: no limit
    limit: float | None  # seconds
    starts: float | None  # seconds since 1970; of a waiting job SLURM's guess, if it made one
    folder: str
    name: str
    comment: str

    @property
    def running(self) -> bool:
        return self.state in RUNNING

    @property
    def here(self) -> bool:
        """Whether it was submitted in this folder: another checkout may run the same study."""
        try:
            return Path(self.folder).samefile(".")
        except OSError:
            return False


# Names and comments are free text: the comment stands last, and may hold the separator.
_JOB = "%A|%T|%r|%N|%L|%l|%S|%Z|%j|%k"


def state(job: int) -> str | None:
    """State of a job in the queue, "GONE" when it is not there, None when SLURM does not answer."""
    asked = _squeue(job, "%T")
    if asked is None:
        return None
    if asked.returncode:
        return "GONE" if "Invalid job id" in asked.stderr else None
    return asked.stdout.strip() or "GONE"


def seconds_left(job: int) -> float | None:
    """Until the job's time limit; None when there is no limit or no answer.

    The time left, not the end time: the clocks of two machines are never compared.
    """
    asked = _squeue(job, "%L")
    return None if asked is None or asked.returncode else _seconds(asked.stdout.strip())


def timed_out(job: int, seconds: float) -> bool:
    """Whether SLURM is ending the job for its time limit; False without an answer in `seconds`."""
    asked = _squeue(job, "%r", seconds)
    return asked is not None and asked.returncode == 0 and asked.stdout.strip() == "TimeLimit"


def queue(seconds: float) -> list[QueuedJob] | None:
    """Every job of this user that waits or runs, asked once; None on a machine without SLURM.

    Raises StageError when there is no answer within `seconds`.
    """
    try:
        asked = _run("squeue", "--me", "--noheader", f"--format={_JOB}", seconds=seconds)
    except FileNotFoundError:
        return None
    except (OSError, subprocess.TimeoutExpired):
        raise StageError(f"squeue gave no answer within {seconds:g} s") from None
    if asked.returncode:
        raise StageError(f"squeue: {(asked.stderr.strip() or 'failed').splitlines()[-1]}")
    return jobs(asked.stdout)


def jobs(text: str) -> list[QueuedJob]:
    """Jobs from the lines that squeue prints; what is not one is left out."""
    found = []
    for line in text.splitlines():
        fields = line.split("|", _JOB.count("|"))
        if len(fields) == _JOB.count("|") + 1 and fields[0].isdigit():
            number, state, reason, nodes, left, limit, starts, *rest = fields
            times = _seconds(left), _seconds(limit), _clock(starts)
            found.append(QueuedJob(int(number), state, reason, nodes, *times, *rest))
    return found


def _clock(text: str) -> float | None:
    """SLURM's local time as seconds since 1970; None for N/A."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


@dataclass(frozen=True)
class Partition:
    """seconds: of its longest job, None for no limit. memory: of its largest node [MB]."""

    seconds: float | None
    memory: int


def partitions() -> dict[str, Partition]:
    """By name. Raises UserError."""
    found: dict[str, Partition] = {}
    for line in _sinfo("--exact", "--format=%R %l %m"):  # one for every kind of node
        fields = line.split()
        if len(fields) != 3:
            continue  # no partition: a site's wrapper of sinfo may say more
        name, limit, memory = fields
        name = name.rstrip("*")
        known = re.match(r"\d+", memory)  # `128000+` of several kinds, `N/A` of a node that is new
        largest = max(int(known[0]) if known else 0, found[name].memory if name in found else 0)
        found[name] = Partition(_seconds(limit), largest)
    return found


# Nodes that start no job, and come back only by somebody's hand.
_AWAY = {
    *("down", "drain", "drained", "draining", "drng", "fail", "failing", "failg"),
    *("error", "inval", "maint", "unk", "unknown", "n/a"),
}


def all_away(partition: str) -> str:
    """The states of a partition's nodes, where none of them starts a job; else "".

    Raises UserError.
    """
    states: set[str] = set()
    for line in _sinfo(f"--partition={partition}", "--format=%a %t"):
        up, _, state = line.partition(" ")
        states.add(up if up in ("down", "inact", "drain") else state.strip().rstrip("*~#!%$@^-+"))
    return ", ".join(sorted(states)) if states and states <= {*_AWAY, "inact"} else ""


def gpus(partition: str) -> list[tuple[str, int]]:
    """Kind ("" where it has no name) and number of the GPUs of one node, each kind of node once.

    Raises UserError.
    """
    lines = _sinfo(f"--partition={partition}", "--format=%G")
    return list(dict.fromkeys(gpu for line in lines for gpu in gres_gpus(line)))


def gres_gpus(gres: str) -> list[tuple[str, int]]:
    """The GPUs among generic resources like `gpu:v100:2(S:0-1),lustre:1`; `gpu` alone is one."""
    found = []
    for resource in re.sub(r"\(.*?\)", "", gres).split(","):  # sockets, which may hold commas
        name, *rest = (part for part in resource.strip().split(":") if part != "no_consume")
        if name == "gpu":
            number = int(rest.pop()) if rest and rest[-1].isdigit() else 1
            found.append((":".join(rest), number))
    return found


def _sinfo(*options: str) -> list[str]:
    """Its lines. Raises UserError."""
    try:
        asked = _run("sinfo", "--noheader", *options)
    except FileNotFoundError:
        raise UserError(
            "sinfo is not there: no SLURM on this machine; use profiles/local"
        ) from None
    except OSError as error:
        raise UserError(f"sinfo: {error.strerror}; use profiles/local") from None
    except subprocess.TimeoutExpired:
        raise UserError("sinfo: SLURM's controller does not answer; try again later") from None
    if asked.returncode:
        why = (asked.stderr.strip() or "no answer").splitlines()[-1]
        raise UserError(f"sinfo: SLURM's controller cannot be reached: {why}")
    return asked.stdout.splitlines()


def _seconds(text: str) -> float | None:
    """`days-hours:minutes:seconds` and shorter; None for UNLIMITED, infinite, INVALID."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(?:(\d+):)?(\d+):)?(\d+)", text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def requeue(job: int) -> None:
    """Queue the running job again, under the same id. Raises StageError when SLURM refuses."""
    try:
        asked = _run("scontrol", "requeue", str(job))
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StageError(f"scontrol requeue {job}: {error}") from None
    if asked.returncode:
        raise StageError(f"scontrol requeue {job} was refused: {asked.stderr.strip()}")


def cancel(jobs: Sequence[QueuedJob]) -> None:
    """Cancel these. Raises StageError when SLURM refuses."""
    numbers = [str(job.id) for job in jobs]
    try:
        asked = _run("scancel", *numbers)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StageError(f"scancel {' '.join(numbers)}: {error}") from None
    if asked.returncode:
        raise StageError(f"scancel {' '.join(numbers)} was refused: {asked.stderr.strip()}")


def _squeue(
    job: int, form: str, seconds: float = SECONDS
) -> subprocess.CompletedProcess[str] | None:
    """What squeue says of one job; None where it does not answer."""
    try:
        return _run("squeue", "--noheader", f"--jobs={job}", f"--format={form}", seconds=seconds)
    except (OSError, subprocess.TimeoutExpired):
        return None


def _run(*command: str, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds)
