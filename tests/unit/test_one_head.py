"""One head per folder; a report of what is there may be made beside it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tacolab import head
from tacolab.errors import UserError


def job(rule: str) -> SimpleNamespace:
    return SimpleNamespace(rule=SimpleNamespace(name=rule), resources={})


def test_a_second_head_is_refused_but_one_that_only_looks(tmp_path: Path) -> None:
    head.start(tmp_path, [job("train"), job("report_now")])
    with pytest.raises(UserError, match="another Snakemake works in this folder"):
        head.start(tmp_path, [job("train")])
    head.start(tmp_path, [job("report_now")])
