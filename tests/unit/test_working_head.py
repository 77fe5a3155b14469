"""What a head looks up before its first job; on a real cluster: tests/slurm/test_head.py."""

import pytest

from tacolab import head
from tacolab.errors import UserError
from tacolab.head import Asked
from tacolab.slurm import Partition


def test_each_of_several_partitions_must_take_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"gpu": Partition(3600.0, 16000), "gpu-old": Partition(None, 8000)}
    monkeypatch.setattr("tacolab.slurm.partitions", lambda: there)
    head.check_limits({Asked("gpu,gpu-old", 60, 8000): ["train"]})
    with pytest.raises(UserError, match=r"partition 'gpuu' .* does not exist"):
        head.check_limits({Asked("gpu,gpuu", 60, 8000): ["train"]})
    with pytest.raises(UserError, match=r"partition 'gpu' .* may last 60 minutes"):
        head.check_limits({Asked("gpu-old,gpu", 61, 8000): ["train"]})
    with pytest.raises(UserError, match=r"'gpu-old' .* largest node has 8000 MB .* 8001.*mem_mb"):
        head.check_limits({Asked("gpu,gpu-old", 60, 8001): ["train"]})
