"""What a head refuses before its first job, and what it does with jobs of another."""

from pathlib import Path

import pytest
import yaml

from studies import Study, job_state, kill, slurm, wait

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("outcomes")]


def edit(study: Study, rule: str = "train", **resources: object) -> None:
    """Change resources of a rule in the study's profile."""
    path = study.folder / "profile/config.yaml"
    profile = yaml.safe_load(path.read_text())
    profile["set-resources"][rule] |= resources
    path.write_text(yaml.safe_dump(profile))


def test_wrong_partition_is_named_at_once(tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    edit(study, slurm_partition="gpuu")
    assert study.run() == 2
    said = (study.folder / "head.log").read_text()
    assert (
        "partition 'gpuu' (rule train) does not exist on this cluster, which has cpu, gpu" in said
    )
    assert "submitted" not in said


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"runtime": 3}, "may last 2 minutes and the profile asks for 3"),
        (
            {"runtime": 1, "mem_mb": 16001},
            "largest node has 16000 MB and the profile asks for 16001",
        ),
    ],
)
def test_job_that_no_node_would_take_is_named_at_once(
    tmp_path: Path, asked: dict[str, int], message: str
) -> None:
    study = Study(tmp_path / "study")
    edit(study, slurm_partition="gpu", **asked)
    assert study.run() == 2
    said = (study.folder / "head.log").read_text()
    assert message in said
    assert "submitted" not in said


def test_second_head_is_refused(tmp_path: Path) -> None:
    study = Study(tmp_path / "study")
    first = study.head()
    wait("the first head to begin", lambda: list(study.folder.glob("results/head/lease-*")))
    assert study.run() == 2
    assert "another Snakemake works in this folder" in (study.folder / "head.log").read_text()
    assert first.poll() is None
    kill(first)
    for job in study.queue():
        slurm("scancel", str(job))


def test_a_dead_heads_evaluation_is_not_done_twice(tmp_path: Path) -> None:
    """Of two jobs the later would delete what the first one has coded, and code it again."""
    study = Study(tmp_path / "study", steps=5)
    config = yaml.safe_load((study.folder / "study.yaml").read_text())
    config["protocol"]["datasets"] = {"set": {}}
    (study.folder / "study.yaml").write_text(yaml.safe_dump(config))
    edit(study, "code", slurm_partition="long", runtime=5, mem_mb=1000)
    study.train_here()
    first = study.head("code")
    wait("a job that codes", lambda: study.jobs("code"))
    (old,) = study.jobs("code")
    study.runner(old).suspend()  # it shall not be done before the next head comes
    kill(first)
    assert study.run("code") == 0, study.log()
    said = (study.folder / "head.log").read_text()
    assert f"cancelled what an earlier Snakemake left in the queue ({old})" in said
    _, new = study.jobs("code")
    wait("the end of the old job", lambda: not study.queue())
    assert (job_state(old), job_state(new)) == ("CANCELLED", "COMPLETED")
    assert len(list(study.folder.glob("results/codes/**/streams.zip"))) == 1
