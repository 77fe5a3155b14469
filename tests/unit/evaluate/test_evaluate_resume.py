"""A killed evaluation goes on at the next image and ends as if nothing had happened."""

import signal
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from small_evaluation import IDS, count_calls, find, killed, make, plan

from tacolab.codec import Elic
from tacolab.ledger import Ledger

ROWS = 2 * len(IDS)
SECONDS = ["encode_seconds", "decode_seconds"]
# place, pass, how much of the work is lost
KILLS = [
    ("half_written", 3, 1),
    ("before_row", 4, 1),
    ("torn_row", 4, 1),
    ("row_without_end", 4, 1),
    ("tidying", 1, ROWS),
]


def same(path: Path, undisturbed: Path) -> None:
    tables = [pd.read_parquet(p) for p in (path, undisturbed / path)]
    tables = [table.drop(columns=SECONDS, errors="ignore") for table in tables]
    pd.testing.assert_frame_equal(*tables)


def archived(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """How many images were coded or decoded, killed processes included."""
    for name in ("encode", "decode"):
        monkeypatch.setattr(Elic, name, getattr(Elic, name))  # put back afterwards
    return count_calls()


@pytest.mark.slow
@pytest.mark.parametrize(("place", "nth", "lost"), KILLS)
def test_killed_coding(
    folder: Path, undisturbed: Path, counted: object, place: str, nth: int, lost: int
) -> None:
    assert killed(folder, "code", place, nth) == -signal.SIGKILL
    codes = find(plan(), "code")
    for path in codes.files:  # as Snakemake does with the outputs of a job that failed
        path.unlink(missing_ok=True)
    make(plan(), "code")
    same(codes.path, undisturbed)
    assert archived(codes.files[1]) == archived(undisturbed / codes.files[1])
    assert counted() == ROWS + lost  # type: ignore[operator]
    assert sorted(codes.folder.iterdir()) == sorted(codes.files)


@pytest.mark.slow
@pytest.mark.parametrize(("place", "nth", "lost"), KILLS)
def test_killed_measuring(
    folder: Path, undisturbed: Path, counted: object, place: str, nth: int, lost: int
) -> None:
    metrics = find(plan(), "metrics")
    for path in metrics.inputs["codes"].files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((undisturbed / path).read_bytes())
    assert killed(folder, "metrics", place, nth) == -signal.SIGKILL
    for path in metrics.files:
        path.unlink(missing_ok=True)
    make(plan(), "metrics")
    same(metrics.path, undisturbed)
    assert archived(metrics.files[2]) == archived(undisturbed / metrics.files[2])
    assert counted() == ROWS + lost  # type: ignore[operator]
    assert sorted(metrics.folder.iterdir()) == sorted(metrics.files)


@pytest.mark.parametrize("torn", [b"", b'{"a": 3', b'{"a": 3}', b"\x00" * 20, b"\xff\n"])
def test_a_ledger_continues_behind_its_last_whole_row(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "state" / "rows.jsonl"
    ledger = Ledger(path)
    ledger.add({"a": 1})
    ledger.add({"a": 2})
    ledger.close()
    with path.open("ab") as file:
        file.write(torn)
    again = Ledger(path)
    assert again.rows == [{"a": 1}, {"a": 2}]
    again.add({"a": 4})
    again.close()
    assert Ledger(path).rows == [{"a": 1}, {"a": 2}, {"a": 4}]


def test_a_ledger_refuses_what_no_table_may_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        Ledger(tmp_path / "rows.jsonl").add({"psnr": float("inf")})
