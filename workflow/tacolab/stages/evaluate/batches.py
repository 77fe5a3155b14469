"""What an evaluation computes together: parts that are kept, and batches in them; work ahead."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

# 64 crops of 256 x 256 pixels, ten images of Kodak: seconds on a GPU, a minute or two without.
PART = 64 * 256 * 256
# Pixels that pass a network at once: more gain nothing on a CPU, which loses its cache.
BATCH = 4 * 256 * 256

K = TypeVar("K")
T = TypeVar("T")


def parts(sizes: Sequence[tuple[int, int]]) -> list[range]:
    """Consecutive items of some (height, width), of at most PART pixels or one alone."""
    found: list[range] = []
    start = total = 0
    for i, (height, width) in enumerate(sizes):
        if i > start and total + height * width > PART:
            found.append(range(start, i))
            start, total = i, 0
        total += height * width
    return [*found, range(start, len(sizes))] if sizes else []


def batches(sizes: Sequence[tuple[int, int]]) -> list[range]:
    """Consecutive items of one size that pass a network together."""
    found: list[range] = []
    start = 0
    for i in range(1, len(sizes) + 1):
        if i == len(sizes) or sizes[i] != sizes[start]:
            step = max(1, BATCH // (sizes[start][0] * sizes[start][1]))
            found += [range(at, min(at + step, i)) for at in range(start, i, step)]
            start = i
    return found


def ahead(make: Callable[[K], T], items: Iterable[K], depth: int = 2) -> Iterator[T]:
    """`make(item)` in the items' order, computed in one thread while the caller does other work.

    No more than `depth` results wait: pictures take memory.
    """
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[Future[T]] = deque()
        for item in items:
            waiting.append(thread.submit(make, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
