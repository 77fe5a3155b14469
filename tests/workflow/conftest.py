"""Copies of the project in which the demo has run; tests edit copies of these."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tacolab.config import load
from tacolab.plan import Plan

ROOT = Path(__file__).parents[2]
DEMO = "config/demo.yaml"


@dataclass(frozen=True)
class Project:
    """A working copy with its own package, config and results."""

    folder: Path

    def run(self, *command: str, timeout: int = 3600) -> subprocess.CompletedProcess[str]:
        """A command in the copy, with the copy's own `tacolab`."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            command,
            cwd=self.folder,
            env=os.environ | {"PATH": path, "PYTHONPATH": str(self.folder / "workflow")},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def snakemake(self, *options: str, config: str = DEMO) -> subprocess.CompletedProcess[str]:
        """The command of the README."""
        return self.run(
            "snakemake", "--profile", "profiles/local", *options, "--configfile", config
        )

    def planned(self, *options: str, config: str = DEMO) -> dict[str, int]:
        """Jobs that a dry run plans, by rule."""
        dry = self.snakemake("--dry-run", *options, config=config)
        assert dry.returncode == 0, dry.stdout + dry.stderr
        if "Nothing to be done" in dry.stdout + dry.stderr:
            return {}
        stats = re.search(r"^job +count\n[- ]+\n(.*?)^total", dry.stdout, re.M | re.S)
        assert stats is not None, dry.stdout
        jobs = Counter({line.split()[0]: int(line.split()[1]) for line in stats[1].splitlines()})
        del jobs["all"]
        return dict(jobs)

    def lacking(self, config: str = DEMO) -> dict[str, int]:
        """What the config means and is not there, by stage, without asking Snakemake: by this
        checkout's code, so of edited configs only."""
        with contextlib.chdir(self.folder):
            plan = Plan(load(Path(config)))
            return dict(Counter(artefact.stage.name for artefact in plan.needed()))

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace text that stands in a file exactly once."""
        file = self.folder / path
        text = file.read_text()
        assert text.count(old) == 1, f"{path}: {old!r} stands there {text.count(old)} times"
        file.write_text(text.replace(old, new))

    def add_code(self, path: str) -> None:
        """An edit of a module that does something."""
        with (self.folder / path).open("a") as file:
            file.write("\nEDITED = True\n")


def copy_sources(folder: Path) -> Project:
    """What a fresh clone of the working tree would hold."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return Project(folder)


# The demo in minutes: an epoch or two on crops of 64 pixels, crops for whole photos, few qualities.
QUICK = {
    "  epochs: 16\n": "  epochs: 2\n",
    "  crop: 128\n": "  crop: 64\n",
    "  milestones: [11, 14]\n": "  milestones: []\n",
    "{export_epochs: [8]}": "{export_epochs: [1]}",
    "{arm: taco, epoch: 8}": "{arm: taco, epoch: 1}",
    "{epochs: 8, milestones: [], start": "{epochs: 1, start",
    "    training: {epochs: 8, milestones: []}\n": "    training: {epochs: 1}\n",
    "photos: {controls: [empty]}": "photos: {controls: [empty], crop: 192}",
    "jpeg: [3, 5, 10, 20, 40, 80]": "jpeg: [10, 40]",
    "webp: [1, 5, 10, 30, 50, 80]": "webp: [10, 50]",
}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The demo has run here, hardly trained. Not to be changed: `demo` is a copy for each test."""
    project = copy_sources(tmp_path_factory.mktemp("demo") / "project")
    for old, new in QUICK.items():
        project.edit(DEMO, old, new)
    run = project.snakemake()
    assert run.returncode == 0, run.stdout + run.stderr
    return project


@pytest.fixture
def demo(finished: Project, tmp_path: Path) -> Project:
    """A copy of the project with the demo's results, `.snakemake` included."""
    shutil.copytree(finished.folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


@pytest.fixture
def clone(tmp_path: Path) -> Project:
    """A fresh clone in which nothing has run."""
    return copy_sources(tmp_path / "clone")
