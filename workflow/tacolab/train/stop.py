"""When to stop before the end: a signal or the clock. The loop asks between two steps."""

import signal
import time
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Set by SIGTERM, SIGINT, or `after` minutes."""

    def __init__(self, after: float | None = None) -> None:
        self._deadline = None if after is None else time.monotonic() + after * 60
        self._signal: signal.Signals | None = None
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # Only a flag: the state may be half-updated at this instant. A second Ctrl-C kills.
        self._signal = signal.Signals(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    @property
    def reason(self) -> str | None:
        """Why to stop now, or None."""
        if self._signal is not None:
            return self._signal.name
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return "--stop-after"
        return None


def ignore_in_worker(worker: int) -> None:
    """Loading processes get the terminal's or SLURM's signals too; the trainer ends them."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
