"""Fixtures of the report's tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from report_study import fill, study
from tacolab import config
from tacolab.keys import Plan


@pytest.fixture
def make_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """A plan whose inputs lie below a temporary working folder."""
    monkeypatch.chdir(tmp_path)

    def make(**changes: Any) -> Plan:
        plan = Plan(config.validate(study(**changes), "test"))
        fill(plan)
        return plan

    return make
