"""A whole run, killed at random moments and started again, ends with the results of another."""

import random
from collections import Counter
from pathlib import Path

import pytest

import whole_runs


@pytest.mark.slow
def test_killed_three_times_the_results_are_those_of_an_undisturbed_run(tmp_path: Path) -> None:
    """Besides, the killed one lies in a folder with spaces and umlauts, its results on a link."""
    undisturbed = whole_runs.prepare(tmp_path / "undisturbed", whole_runs.SMALL)
    whole_runs.finish(undisturbed)
    folder = whole_runs.prepare(tmp_path / "größe mit leerzeichen", whole_runs.SMALL)
    (tmp_path / "another disk").mkdir()
    (folder / "results").symlink_to(tmp_path / "another disk")
    killed: Counter[str] = Counter()
    whole_runs.disturb(folder, 3, random.Random(3), killed)
    assert killed.total() >= 3  # what still runs after the third is killed, too
    whole_runs.finish(folder)
    assert whole_runs.difference(folder, undisturbed) == []
