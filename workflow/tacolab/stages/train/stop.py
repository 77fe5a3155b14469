"""When a training stops before its end: the loop asks between two steps."""

import signal
import time
from dataclasses import dataclass
from functools import cached_property
from types import FrameType

from tacolab.cluster import slurm
from tacolab.cluster.lease import Lease
from tacolab.files.process import slurm_job

# SLURM's warning before the time limit (`sbatch --signal=URG@300`). Unlike others it is ignored by
# default, so srun, bash and Snakemake live on while the trainer saves.
WARNING = signal.SIGURG
SIGNALS = (signal.SIGTERM, signal.SIGINT, WARNING)
ANSWER = 5.0  # seconds; SLURM kills 30 s after SIGTERM by default


@dataclass(frozen=True)
class StopReason:
    """Why to stop; `again`: SLURM should queue the job again."""

    text: str
    again: bool = False
    cancelled: bool = False


class StopRequests:
    """Asked to stop by a signal, by the clock, or by a newcomer to the folder."""

    def __init__(self, after: float | None = None, margin: float | None = None) -> None:
        """after: minutes. margin: seconds to keep before SLURM's time limit; None: no clock."""
        self._signal: signal.Signals | None = None
        self._job = slurm_job()
        for number in SIGNALS:  # before SLURM is asked, which may take a minute
            if number != WARNING or self._job:
                signal.signal(number, self._on_signal)
        now = time.monotonic()
        self.lease: Lease | None = None
        self._deadline = None if after is None else now + after * 60
        left = slurm.seconds_left(self._job) if self._job else None
        self._limit = None if left is None else now + left
        self._margin = margin
        self._slowest_save = 0.0

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # Only a flag: the state may be half-updated at this instant. A second Ctrl-C kills.
        if number == WARNING and self._signal is not None:
            return  # it must not revive a job that was cancelled before
        self._signal = signal.Signals(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def saved(self, seconds: float) -> None:
        """A checkpoint took this long: the clock must leave room for the slowest one."""
        self._slowest_save = max(self._slowest_save, seconds)

    @cached_property
    def _cancelled(self) -> bool:
        """Whether a person sent the signal. SLURM also ends a job at its limit by SIGTERM.

        It is asked, since the limit may have been changed meanwhile; in a hurry, for it kills soon.
        """
        if self._job is None:
            return False
        over = self._limit is not None and time.monotonic() > self._limit
        return not over and not slurm.timed_out(self._job, seconds=ANSWER)

    @property
    def reason(self) -> StopReason | None:
        """Why to stop now, or None."""
        now = time.monotonic()
        if self._signal == WARNING:
            return StopReason("SLURM's warning before the time limit", again=True)
        if self._signal is not None:
            return StopReason(self._signal.name, cancelled=self._cancelled)
        if self.lease and self.lease.lost:
            return StopReason("another process has taken over the folder")
        if self.lease and self.lease.asked:
            return StopReason(f"handed over to {self.lease.asked}")
        if self._deadline is not None and now >= self._deadline:
            return StopReason("--stop-after")
        if self._limit is not None and self._margin is not None:
            room = self._margin + 2 * self._slowest_save
            if now >= self._limit - room:
                return StopReason(f"{room:.0f} s before the time limit", again=True)
        return None


def ignore_in_worker(worker: int) -> None:
    """Loading processes get the terminal's or SLURM's signals too; the trainer ends them."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
