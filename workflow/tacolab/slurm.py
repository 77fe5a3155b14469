"""What the package asks SLURM, and the one thing it tells it: to queue a job again."""

import os
import re
import subprocess

from tacolab.errors import StageError, UserError

# States of a job whose processes may run; every other state in the queue waits.
RUNNING = {"RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT"}
SECONDS = 60  # a busy controller may take long to answer


def job_id() -> int | None:
    """The job that this process belongs to; None outside SLURM."""
    number = os.environ.get("SLURM_JOB_ID", "")
    return int(number) if number.isdigit() else None


def state(job: int) -> str | None:
    """State of a job in the queue, "GONE" when it is not there, None when SLURM does not answer."""
    try:
        asked = _run("squeue", "--noheader", f"--jobs={job}", "--format=%T")
    except (OSError, subprocess.TimeoutExpired):
        return None
    if asked.returncode:
        return "GONE" if "Invalid job id" in asked.stderr else None
    return asked.stdout.strip() or "GONE"


def seconds_left(job: int) -> float | None:
    """Until the job's time limit; None when there is no limit or no answer.

    The time left, not the end time: the clocks of two machines are never compared.
    """
    try:
        asked = _run("squeue", "--noheader", f"--jobs={job}", "--format=%L")
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if asked.returncode else _seconds(asked.stdout.strip())


def partition_limits() -> dict[str, float | None]:
    """Longest job of each partition in seconds, None for no limit. Raises UserError."""
    try:
        asked = _run("sinfo", "--noheader", "--format=%R %l")
    except FileNotFoundError:
        raise UserError(
            "sinfo is not there: no SLURM on this machine; use profiles/local"
        ) from None
    except subprocess.TimeoutExpired:
        raise UserError("sinfo: SLURM's controller does not answer") from None
    if asked.returncode:
        raise UserError(f"sinfo: SLURM's controller cannot be reached: {asked.stderr.strip()}")
    pairs = (line.split() for line in asked.stdout.splitlines())
    return {name: _seconds(limit) for name, limit in pairs}


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


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
