"""What a head looks up before its first job; on a real cluster: tests/slurm/test_head.py."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tacolab.cluster import head, slurm
from tacolab.cluster.head import Asked
from tacolab.cluster.slurm import Partition
from tacolab.errors import StageError, UserError


def job(rule: str, *wildcards: str) -> SimpleNamespace:
    """As Snakemake plans it."""
    resources = {"slurm_partition": "gpu", "runtime": 1}
    return SimpleNamespace(
        rule=SimpleNamespace(name=rule), resources=resources, wildcards=wildcards
    )


def test_each_of_several_partitions_must_take_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"gpu": Partition(3600.0, 16000), "gpu-old": Partition(None, 8000)}
    monkeypatch.setattr("tacolab.cluster.slurm.partitions", lambda: there)
    head.check_limits({Asked("gpu,gpu-old", 60, 8000): ["train"]})
    with pytest.raises(UserError, match=r"partition 'gpuu' .* does not exist"):
        head.check_limits({Asked("gpu,gpuu", 60, 8000): ["train"]})
    with pytest.raises(UserError, match=r"partition 'gpu' .* may last 60 minutes"):
        head.check_limits({Asked("gpu-old,gpu", 61, 8000): ["train"]})
    with pytest.raises(UserError, match=r"'gpu-old' .* largest node has 8000 MB .* 8001.*mem_mb"):
        head.check_limits({Asked("gpu,gpu-old", 60, 8001): ["train"]})


def test_memory_by_core_is_that_of_all_cores() -> None:
    """Snakemake's executor passes it on in place of the job's memory."""
    asked = {"slurm_partition": "gpu", "runtime": 1, "mem_mb": 8000}
    assert Asked.of(asked) == Asked("gpu", 1, 8000)
    assert Asked.of(asked | {"mem_mb_per_cpu": 3000, "_cores": 4}) == Asked("gpu", 1, 12000)


def test_a_dead_heads_jobs_are_cancelled_that_would_be_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    here, elsewhere = str(tmp_path), str(tmp_path.parent)
    lines = [
        (1, here, "rule_code_wildcards_taco_0.004_100_0123abcd_kodak_own"),
        (2, here, "rule_report"),
        (3, here, "rule_train_wildcards_taco_0.004_100_0123abcd"),
        (4, here, "rule_captions_wildcards_coco_gpt4o_0123abcd"),
        (5, elsewhere, "rule_code_wildcards_taco_0.004_100_0123abcd_kodak_own"),
        (6, here, "rule_code_wildcards_taco_0.009_100_0123abcd_kodak_own"),  # of another config
        (7, here, "(null)"),
    ]
    text = "".join(
        f"{number}|RUNNING|None|g1|1:00|2:00|N/A|{folder}|name|{comment}\n"
        for number, folder, comment in lines
    )
    cancelled: list[int] = []
    monkeypatch.setattr(slurm, "queue", lambda seconds: slurm.jobs(text))
    monkeypatch.setattr(slurm, "cancel", lambda jobs: cancelled.extend(job.id for job in jobs))
    model = ("taco", "0.004", "100", "0123abcd")
    head.cancel_orphans(
        [
            job("code", *model, "kodak", "own"),
            job("report"),
            job("train", *model),
            job("captions", "coco", "gpt4o", "0123abcd"),
        ]
    )
    assert cancelled == [1, 2]
    assert "left in the queue (1, 2)" in capsys.readouterr().err
    head.cancel_orphans([job("metrics", *model, "kodak", "own"), job("train", *model)])
    assert cancelled == [1, 2] and not capsys.readouterr().err


def test_a_queue_that_does_not_answer_ends_the_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(seconds: float) -> None:
        raise StageError("squeue gave no answer within 60 s")

    monkeypatch.setattr(slurm, "partitions", lambda: {"gpu": Partition(None, 8000)})
    monkeypatch.setattr(slurm, "queue", silent)
    with pytest.raises(UserError, match=r"no answer within 60 s; start again"):
        head.start(tmp_path, SimpleNamespace(needrun_jobs=lambda: [job("code", "taco")]))
