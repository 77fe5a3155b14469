"""One head per folder; a report of what is there may be made beside it."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tacolab.cluster import head
from tacolab.cluster.lease import newest
from tacolab.errors import UserError


def plan(*jobs: SimpleNamespace) -> SimpleNamespace:
    """Snakemake's, of jobs whose outputs it has not found."""
    return SimpleNamespace(
        needrun_jobs=lambda: jobs, reason=lambda job: SimpleNamespace(missing_output=job.output)
    )


def job(rule: str, *output: str) -> SimpleNamespace:
    return SimpleNamespace(rule=SimpleNamespace(name=rule), resources={}, output=output)


def test_a_second_head_is_refused_but_one_that_only_looks(tmp_path: Path) -> None:
    head.start(tmp_path, plan(job("train", "model"), job("report_now")))
    with pytest.raises(UserError, match="another Snakemake works in this folder"):
        head.start(tmp_path, plan(job("train", "model")))
    head.start(tmp_path, plan(job("report_now")))


def test_a_checkout_whose_path_has_braces_is_refused(tmp_path: Path) -> None:
    head.check_folder(tmp_path / "a folder")
    with pytest.raises(UserError, match="braces in its path"):
        head.check_folder(tmp_path / "{tacolab}")


def test_what_came_since_the_plan_was_made_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job of a dead head ended while this one waited for its lease."""
    begun: list[list[str]] = []

    class Replaced(Exception):  # noqa: N818 - what exec does to a process
        pass

    def execv(path: str, command: list[str]) -> None:
        begun.append(command)
        raise Replaced

    monkeypatch.setattr("os.execv", execv)
    parquet, streams = tmp_path / "codes.parquet", tmp_path / "streams.zip"
    parquet.touch()
    jobs = plan(job("code", str(parquet), str(streams)))
    head.start(tmp_path / "half", jobs)
    assert not begun
    streams.touch()
    with pytest.raises(Replaced):
        head.start(tmp_path / "whole", jobs)
    assert begun == [sys.orig_argv]
    owner = newest(tmp_path / "whole/head")
    assert owner is not None and owner.released
