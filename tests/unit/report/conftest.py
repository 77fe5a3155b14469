"""Fixtures of the report's tests."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from report_study import CLAIMED, SMALL, fill, study
from tacolab import config
from tacolab.plan import Plan
from tacolab.stages.report import build, tables
from tacolab.stages.report.inputs import read


@pytest.fixture
def make_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """A plan whose inputs lie below a temporary working folder."""
    monkeypatch.chdir(tmp_path)

    def make(**changes: Any) -> Plan:
        plan = Plan(config.validate(study(**changes), "test"))
        fill(plan)
        return plan

    return make


def report_of(folder: Path, **changes: Any) -> tuple[Path, Plan]:
    """A working folder in which a synthetic study has its report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        plan = Plan(config.validate(study(**changes), "test"))
        fill(plan)
        build.run(plan, plan.find("report"))
    return folder, plan


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan]:
    """The whole study; not to be changed."""
    return report_of(tmp_path_factory.mktemp("reported"))


@pytest.fixture(scope="session")
def small_reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan]:
    """The small one; not to be changed."""
    return report_of(tmp_path_factory.mktemp("small"), **SMALL)


@pytest.fixture(scope="session")
def claimed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report with claims that are measured and others; not to be changed."""
    folder, plan = report_of(tmp_path_factory.mktemp("claimed"), **CLAIMED)
    return folder / plan.find("report").folder


@pytest.fixture
def drawn(
    small_reported: tuple[Path, Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Plan:
    """The small study in a folder of its own, with a report that may be changed."""
    folder, plan = small_reported
    shutil.copytree(folder / "results", tmp_path / "results", symlinks=True)
    monkeypatch.chdir(tmp_path)
    return plan


@pytest.fixture
def made(reported: tuple[Path, Plan], monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan of `reported`, in its folder."""
    monkeypatch.chdir(reported[0])
    return reported[1]


def tables_of(plan: Plan, partial: bool = False) -> dict[str, pd.DataFrame]:
    """The tables alone: figures take their time."""
    return tables.make(plan.study, read(plan.study, plan.find("report"), partial))
