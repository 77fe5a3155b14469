"""Parts and batches of an evaluation: always the same, and in their order."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacolab.stages.evaluate import batches as module
from tacolab.stages.evaluate.batches import ahead, batches, parts

SIZES = st.lists(st.sampled_from([(64, 64), (64, 128), (300, 200), (128, 64)]), max_size=40)


@given(SIZES)
def test_parts_and_batches_hold_every_item_once_and_in_order(sizes: list[tuple[int, int]]) -> None:
    for cut, limit in ((parts, module.PART), (batches, module.BATCH)):
        found = cut(sizes)
        assert [i for part in found for i in part] == list(range(len(sizes)))
        for part in found:
            pixels = sum(sizes[i][0] * sizes[i][1] for i in part)
            assert pixels <= limit or len(part) == 1
    assert all(len({sizes[i] for i in batch}) == 1 for batch in batches(sizes))


def test_results_come_in_order_and_only_a_few_ahead() -> None:
    made: list[int] = []
    thread: set[int] = set()

    def make(item: int) -> int:
        thread.add(threading.get_ident())
        made.append(item)
        return item * item

    results = ahead(make, iter(range(50)), depth=2)
    assert next(results) == 0
    time.sleep(0.1)
    assert len(made) <= 4  # no more than wait, and the one in work
    assert list(results) == [n * n for n in range(1, 50)]
    assert thread == thread - {threading.get_ident()} and len(thread) == 1


def test_an_error_ahead_reaches_the_caller() -> None:
    def make(item: int) -> float:
        return 1 / item

    with pytest.raises(ZeroDivisionError):
        list(ahead(make, [2, 1, 0, 1]))
