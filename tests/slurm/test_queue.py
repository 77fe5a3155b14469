"""`tacolab status` beside a real queue: jobs as the workflow comments and `--submit` names them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from studies import Study, slurm, wait

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("outcomes")]


def trainings(study: Study) -> dict[str, dict[str, Any]]:
    """By lambda."""
    shown = study.tacolab("status", "--json")
    assert shown.returncode == 0, shown.stderr
    return {training["lmbda"]: training for training in json.loads(shown.stdout)["trainings"]}


def submit(folder: Path, *options: str) -> int:
    command = ["sbatch", "--parsable", "--partition=cpu", "--time=5", *options, "--wrap=sleep 300"]
    return int(subprocess.check_output(command, cwd=folder, text=True))


def test_jobs_in_the_queue(tmp_path: Path) -> None:
    study = Study(tmp_path / "study", steps=5, lambdas=("0.01", "0.02", "0.03", "0.04"))
    before = trainings(study)
    assert {training["state"] for training in before.values()} == {"missing"}
    label = {
        lmbda: f"image-only_{lmbda}_{training['seed']}_{training['key']}"
        for lmbda, training in before.items()
    }
    jobs = [
        submit(study.folder, f"--comment=rule_train_wildcards_{label['0.01']}"),
        submit(study.folder, "--hold", f"--comment=rule_train_wildcards_{label['0.02']}"),
        submit(
            study.folder,
            "--begin=now+1hour",
            f"--job-name=tacolab train {label['0.03'].replace('_', ' ')}",
        ),
        submit(tmp_path, f"--comment=rule_train_wildcards_{label['0.04']}"),
    ]
    try:
        wait("a running job", lambda: trainings(study)["0.01"]["state"] == "running")
        runs, held, later, elsewhere = trainings(study).values()
        assert (runs["job"], runs["place"], runs["problems"]) == (jobs[0], "c1", [])
        assert (held["state"], held["job"], held["reason"]) == ("waiting", jobs[1], "JobHeldUser")
        assert held["problems"] == ["will not start by itself"]
        assert (later["state"], later["job"], later["reason"]) == ("waiting", jobs[2], "BeginTime")
        assert later["problems"] == []
        assert elsewhere["state"] == "missing"
    finally:
        slurm("scancel", *map(str, jobs))
