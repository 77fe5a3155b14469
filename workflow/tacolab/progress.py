"""Progress of long work on many items: a bar on a terminal, a line a minute in a log file."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")
SECONDS = 60.0  # between two lines of a log file


def progress(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """The items, counted on stderr."""
    if sys.stderr.isatty():
        yield from track(items, label, total, console=Console(stderr=True), transient=True)
        return
    last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        if time.monotonic() - last > SECONDS:
            last = time.monotonic()
            logging.getLogger(__name__).info("%s: %d of %d", label, done, total)
