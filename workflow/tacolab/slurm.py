"""What the package asks SLURM, and what it tells it: to queue a job again, to cancel some."""

import os
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
class Job:
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


def job_id() -> int | None:
    """The job that this process belongs to; None outside SLURM."""
    number = os.environ.get("SLURM_JOB_ID", "")
    return int(number) if number.isdigit() else None


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


def queue(seconds: float) -> list[Job] | None:
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


def jobs(text: str) -> list[Job]:
    """Jobs from the lines that squeue prints; what is not one is left out."""
    found = []
    for line in text.splitlines():
        fields = line.split("|", _JOB.count("|"))
        if len(fields) == _JOB.count("|") + 1 and fields[0].isdigit():
            number, state, reason, nodes, left, limit, starts, *rest = fields
            times = _seconds(left), _seconds(limit), _clock(starts)
            found.append(Job(int(number), state, reason, nodes, *times, *rest))
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
    try:
        asked = _run("sinfo", "--noheader", "--exact", "--format=%R %l %m")
    except FileNotFoundError:
        raise UserError(
            "sinfo is not there: no SLURM on this machine; use profiles/local"
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError("sinfo: SLURM's controller does not answer") from None
    if asked.returncode:
        why = (asked.stderr.strip() or "no answer").splitlines()[-1]
        raise UserError(f"sinfo: SLURM's controller cannot be reached: {why}")
    found: dict[str, Partition] = {}
    for line in asked.stdout.splitlines():  # one for every kind of node
        name, limit, memory = line.split()
        largest = max(int(memory.rstrip("+")), found[name].memory if name in found else 0)
        found[name] = Partition(_seconds(limit), largest)
    return found


def min_job_age() -> int | None:
    """Seconds for which squeue still knows a job that has ended; None when nothing tells."""
    try:
        asked = _run("scontrol", "show", "config")
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"^MinJobAge\s*=\s*(\d+)", asked.stdout, re.MULTILINE)
    return int(match[1]) if match else None


def gpus(partition: str) -> list[tuple[str, int]]:
    """Kind ("" where it has no name) and number of the GPUs of one node, each kind of node once."""
    try:
        asked = _run("sinfo", "--noheader", f"--partition={partition}", "--format=%G")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"sinfo: {error}; is SLURM's controller up?") from None
    found = re.findall(r"\bgpu:(?:([^:,()\s]+):)?(\d+)", asked.stdout)
    return [(name, int(number)) for name, number in dict.fromkeys(found)]


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


def cancel(jobs: Sequence[Job]) -> None:
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
