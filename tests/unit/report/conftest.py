"""Fixtures of the report's tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from report_study import fill, study
from tacolab import config, report
from tacolab.keys import Plan
from tacolab.report import tables
from tacolab.report.inputs import read


@pytest.fixture
def make_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """A plan whose inputs lie below a temporary working folder."""
    monkeypatch.chdir(tmp_path)

    def make(**changes: Any) -> Plan:
        plan = Plan(config.validate(study(**changes), "test"))
        fill(plan)
        return plan

    return make


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan]:
    """A working folder in which the synthetic study has its report; not to be changed."""
    folder = tmp_path_factory.mktemp("reported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        plan = Plan(config.validate(study(), "test"))
        fill(plan)
        report.run(plan, plan.report())
    return folder, plan


@pytest.fixture
def made(reported: tuple[Path, Plan], monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan of `reported`, in its folder."""
    monkeypatch.chdir(reported[0])
    return reported[1]


def tables_of(plan: Plan, partial: bool = False) -> dict[str, pd.DataFrame]:
    """The tables alone: figures take their time."""
    return tables.make(plan.study, read(plan.study, plan.report(), partial))
