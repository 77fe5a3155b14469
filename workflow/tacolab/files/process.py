"""Processes of this machine and of others: which one wrote a file, does it live, ending with it."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import signal
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

# Of Snakemake's head, for the jobs that run in its own machine.
HEAD = "TACOLAB_HEAD"
PATTERN = r"[0-9a-f]{8}-\d+-\d*-\d*"


def slurm_job() -> int | None:
    """The SLURM job that this process belongs to; None outside SLURM."""
    number = os.environ.get("SLURM_JOB_ID", "")
    return int(number) if number.isdigit() else None


def boot() -> str:
    """One boot of one machine, and the PID namespace: there pid and start name a process."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot_id} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux
        return socket.gethostname()


def start(pid: int) -> str:
    """When a process of this machine started, in clock ticks since boot; "" without such one."""
    try:
        # The second field, the name, may hold spaces and brackets.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def age() -> float | None:
    """Seconds since this process started; None on what is no Linux."""
    ticks = start(os.getpid())
    if not ticks:
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """A process of any machine, short enough to stand in a file's name.

    machine: digits of what `boot` says, start: as above, job: of SLURM.
    """

    machine: str
    pid: int
    start: str
    job: int | None

    @classmethod
    def of(cls, pid: int) -> Process:
        """One that lives on this machine."""
        machine = hashlib.sha256(boot().encode()).hexdigest()[:8]
        return cls(machine, pid, start(pid), slurm_job())

    @classmethod
    def me(cls) -> Process:
        return cls.of(os.getpid())

    @classmethod
    def parse(cls, text: str) -> Process | None:
        """From its `str`; None for anything else."""
        if not re.fullmatch(PATTERN, text):
            return None
        machine, pid, ticks, job = text.split("-")
        return cls(machine, int(pid), ticks, int(job) if job else None)

    def __str__(self) -> str:
        return f"{self.machine}-{self.pid}-{self.start}-{self.job or ''}"

    @property
    def lives(self) -> bool | None:
        """None where nobody here can tell: a pid says nothing about another machine."""
        if not self.start or self.machine != Process.me().machine:
            return None
        return start(self.pid) == self.start


def end_with(other: Process, how: signal.Signals) -> None:
    """From now on this process gets the signal when `other`, of this machine, has ended.

    Whatever ended it: a killed process tells nobody. Not by the kernel (PR_SET_PDEATHSIG), which
    knows parents only: a shell stands between a job and its head, and lives on.
    """

    def watch() -> None:
        while other.lives is not False:
            time.sleep(0.5)
        if how != signal.SIGKILL:
            log.warning("the process that started this one has ended (%s): stopping", other.pid)
        os.kill(os.getpid(), how)

    threading.Thread(target=watch, daemon=True, name="end with another process").start()


def end_with_head() -> None:
    """Where a Snakemake of this machine has started this job: a trainer saves and leaves then."""
    head = Process.parse(os.environ.get(HEAD, ""))
    if head and head.lives is not None:
        end_with(head, signal.SIGTERM)
