"""What a head looks up before its first job; on a real cluster: tests/slurm/test_head.py."""

import pytest

from tacolab import head
from tacolab.errors import UserError


def test_each_of_several_partitions_must_take_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"gpu": 3600.0, "gpu-old": None}
    monkeypatch.setattr("tacolab.slurm.partition_limits", lambda: limits)
    head.check_limits({("gpu,gpu-old", 60): ["train"]})
    with pytest.raises(UserError, match=r"partition 'gpuu' .* does not exist"):
        head.check_limits({("gpu,gpuu", 60): ["train"]})
    with pytest.raises(UserError, match=r"partition 'gpu' .* may last 60 minutes"):
        head.check_limits({("gpu-old,gpu", 61): ["train"]})
