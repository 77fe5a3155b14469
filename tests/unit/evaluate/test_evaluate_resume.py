"""A killed evaluation goes on at the next part and ends as if nothing had happened."""

import signal
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from small_evaluation import CALLS, IDS, count_calls, find, killed, make, plan

from tacolab.codec import Elic

ROWS = 2 * len(IDS)
SECONDS = ["encode_seconds", "decode_seconds"]
# place, pass, codings that the parts then kept hold: of the step `code` (parts of two images with
# two captions each: 4 and 2 codings) and of `metrics` (parts of two codings)
KILLS = [
    ("half_written", 1, 0, 0),
    ("half_written", 2, 4, 2),
    ("before_saving", 2, 4, 2),
    ("tidying", 1, 2, 4),
]


def same(path: Path, undisturbed: Path) -> None:
    tables = [pd.read_parquet(p) for p in (path, undisturbed / path)]
    tables = [table.drop(columns=SECONDS, errors="ignore") for table in tables]
    pd.testing.assert_frame_equal(*tables)


def archived(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many images were coded or decoded since the last call, killed processes included."""
    for name in ("encode_latents", "decode_latents"):
        monkeypatch.setattr(Elic, name, getattr(Elic, name))  # put back afterwards
    count = count_calls()

    def since() -> int:
        found = count()
        (folder / CALLS).write_text("")
        return found

    return since


@pytest.mark.slow
@pytest.mark.parametrize(("place", "nth", "kept", "_"), KILLS)
def test_killed_coding(
    folder: Path,
    undisturbed: Path,
    counted: Callable[[], int],
    place: str,
    nth: int,
    kept: int,
    _: int,
) -> None:
    assert killed(folder, "code", place, nth) == -signal.SIGKILL
    codes = find(plan(), "code")
    for path in codes.files:  # as Snakemake does with the outputs of a job that failed
        path.unlink(missing_ok=True)
    assert counted() >= kept
    make(plan(), "code")
    assert counted() == ROWS - kept
    same(codes.path, undisturbed)
    assert archived(codes.files[1]) == archived(undisturbed / codes.files[1])
    assert sorted(codes.folder.iterdir()) == sorted(codes.files)


@pytest.mark.slow
@pytest.mark.parametrize(("place", "nth", "_", "kept"), KILLS)
def test_killed_measuring(
    folder: Path,
    undisturbed: Path,
    counted: Callable[[], int],
    place: str,
    nth: int,
    _: int,
    kept: int,
) -> None:
    metrics = find(plan(), "metrics")
    for path in metrics.inputs["codes"].files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((undisturbed / path).read_bytes())
    assert killed(folder, "metrics", place, nth) == -signal.SIGKILL
    for path in metrics.files:
        path.unlink(missing_ok=True)
    assert counted() >= kept
    make(plan(), "metrics")
    assert counted() == ROWS - kept
    same(metrics.path, undisturbed)
    assert archived(metrics.files[2]) == archived(undisturbed / metrics.files[2])
    assert sorted(metrics.folder.iterdir()) == sorted(metrics.files)
