"""Progress of long work on many items: a bar on a terminal, a line a minute in a log file."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

T = TypeVar("T")
SECONDS = 60.0  # between two lines of a log file


def progress(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """The items, counted on stderr."""
    if sys.stderr.isatty():
        # Else what goes into a pipe meanwhile would come out on the terminal, above the bar.
        redirect = sys.stdout.isatty()
        console = Console(stderr=True)
        with Progress(console=console, transient=True, redirect_stdout=redirect) as bar:
            yield from bar.track(items, total, description=label)
        return
    last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        if time.monotonic() - last > SECONDS:
            last = time.monotonic()
            logging.getLogger(__name__).info("%s: %d of %d", label, done, total)


@contextmanager
def tallied(label: str, total: int, before: int) -> Iterator[Callable[[int, str], None]]:
    """Yields a function that is told how many of `total` are there, and a word beside it.

    before: how many there were at the start, which say nothing about the rate.
    """
    started = last = time.monotonic()

    def pace(done: int) -> str:
        rate = (done - before) / max(1e-9, time.monotonic() - started)
        if rate == 0:
            return "-"
        left = timedelta(seconds=round((total - done) / rate))
        return f"{rate:.1f}/s, {left} left"

    if sys.stderr.isatty():
        columns = [BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}")]
        with Progress(
            TextColumn("{task.description}"), *columns, console=Console(stderr=True), transient=True
        ) as bar:
            task = bar.add_task(label, total=total, completed=before, note="")
            yield lambda done, note: bar.update(task, completed=done, note=f"{pace(done)}, {note}")
        return

    def log(done: int, note: str) -> None:
        nonlocal last
        if time.monotonic() - last > SECONDS:
            last = time.monotonic()
            logging.getLogger(__name__).info(
                "%s: %d of %d, %s, %s", label, done, total, pace(done), note
            )

    yield log


@contextmanager
def transferred(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields a function that is told how many of `total` bytes are there."""
    if sys.stderr.isatty():
        columns = [BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()]
        with Progress(
            TextColumn("{task.description}"),
            *columns,
            console=Console(stderr=True),
            transient=True,
        ) as bar:
            task = bar.add_task(label, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    last = time.monotonic()

    def log(done: int) -> None:
        nonlocal last
        if time.monotonic() - last > SECONDS:
            last = time.monotonic()
            logging.getLogger(__name__).info("%s: %.1f of %.1f MB", label, done / 1e6, total / 1e6)

    yield log
