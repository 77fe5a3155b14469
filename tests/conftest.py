"""Tests of one folder share their fixtures, so they run in one process (`pytest -n 2`)."""

from pathlib import Path

import pytest

UNIT = Path(__file__).parent / "unit"


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: UNIT in item.path.parents)  # the longest, whole workflows, first
    for item in items:
        group = item.path if item.path.parent == UNIT else item.path.parent
        item.add_marker(pytest.mark.xdist_group(str(group)))
