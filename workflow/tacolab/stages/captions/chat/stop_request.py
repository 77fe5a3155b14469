"""A wish that the run end, by Ctrl-C, SIGTERM or another process: leave with everything kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

from tacolab.errors import Interrupted

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Notes a signal; a second Ctrl-C ends the process at once."""

    def __init__(self) -> None:
        self.reason = ""
        self._asked = threading.Event()
        self._tell: Callable[[], object] = lambda: None

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.ask(signal.Signals(number).name)

    def ask(self, reason: str) -> None:
        self.reason = self.reason or reason
        self._asked.set()
        self._tell()

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def tell(self, listener: Callable[[], object]) -> None:
        """Call this when asked, from whatever thread."""
        self._tell = listener
        if self.asked:
            listener()

    def wait(self, seconds: float) -> None:
        """Sleep. Raises Interrupted as soon as it is asked."""
        self._asked.wait(seconds)
        self.check()

    def check(self) -> None:
        """Raises Interrupted when asked."""
        if self.asked:
            raise Interrupted(
                f"stopped ({self.reason}); every answer is kept, and the same command goes on"
            )
