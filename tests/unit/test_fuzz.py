"""Files of every kind with damage of every kind: read rightly or refused, never anything else."""

import pytest

import fuzz


@pytest.mark.slow
def test_damaged_files_are_read_rightly_or_refused() -> None:
    found = fuzz.run(seed=16, count=2000)
    assert not found.faults, "\n".join(found.faults)
    kinds = {name for name, _ in found.outcomes}
    assert len(kinds) == 18
    assert all(found.outcomes[name, "refused"] for name in kinds)
