"""Tests of one folder share their fixtures, so they run in one process (`pytest -n 2`)."""

import signal
from pathlib import Path

import pytest

UNIT = Path(__file__).parent / "unit"

# A shell's background job ignores Ctrl-C, and so would the children that tests send it to.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: UNIT in item.path.parents)  # the longest, whole workflows, first
    for item in items:
        group = item.path if item.path.parent == UNIT else item.path.parent
        item.add_marker(pytest.mark.xdist_group(str(group)))
