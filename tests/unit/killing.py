"""SIGKILL from within, at the nth pass of a place that a test patches."""

import os
import signal
from collections.abc import Callable


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def nth(n: int) -> Callable[[], bool]:
    """A question that is answered with yes the nth time."""
    passes = iter(range(1, 1_000_000))
    return lambda: next(passes) == n
