"""What shares its fixtures runs in one process (`pytest -n 3`); what lasts longest begins first."""

import os
import signal
from pathlib import Path

import pytest

HERE = Path(__file__).parent
UNIT = HERE / "unit"

# Groups by folder or file, longest first. The cluster's scenarios mostly wait, beside all others.
FIRST = ["slurm", "workflow", "workflow/test_mini.py", "workflow/test_rate.py"]
# Of these folders the tests start many processes.
THEN = ["unit/train", "unit/evaluate", "unit/captions"]

# A shell's background job ignores Ctrl-C, and so would the children that tests send it to.
signal.signal(signal.SIGINT, signal.default_int_handler)

# More threads work than there are cores: one that waits for another shall not spin meanwhile.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def group(item: pytest.Item) -> str:
    """Tests of one folder, or of a file that stands for itself."""
    file = item.path.relative_to(HERE)
    alone = str(file) in FIRST or item.path.parent == UNIT
    return str(file if alone else file.parent)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate([*FIRST, *THEN])}
    items.sort(key=lambda item: order.get(group(item), len(order)))
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item)))
