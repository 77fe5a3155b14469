"""Caches lie where they can be written, whatever HOME is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tacolab.files import caches

ROOT = Path(__file__).parents[2]
NOWHERE = "/dev/null"  # as HOME of a service, where not even root can write


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and, beside it, the present folder; nothing else says where caches lie."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    for name in ("XDG_CACHE_HOME", "HF_HOME", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "")  # taken back by the fixture, whatever is set meanwhile
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def where() -> tuple[str | None, str | None]:
    return os.environ.get("XDG_CACHE_HOME"), os.environ.get("HF_HOME")


def test_jobs_keep_them_in_the_project_and_models_stay_where_they_are(home: Path) -> None:
    caches.settle()
    assert where() == (str(Path.cwd() / ".cache"), str(home / ".cache/huggingface"))


def test_a_home_that_cannot_be_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", NOWHERE)
    caches.ensure()
    assert where() == (str(Path.cwd() / ".cache"), None)


def test_a_home_that_can_be_written_is_left_to_single_commands(home: Path) -> None:
    caches.ensure()
    assert where() == (None, None)


def test_a_folder_that_was_named_is_taken(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "mine"))
    caches.settle()
    assert where() == (str(home / "mine"), None)
    monkeypatch.setenv("XDG_CACHE_HOME", NOWHERE)
    caches.settle()
    assert where() == (str(Path.cwd() / ".cache"), None)


def test_snakemake_runs_without_a_home(tmp_path: Path) -> None:
    """Its jobs, too: they inherit where the cache lies."""
    (tmp_path / "Snakefile").write_text("rule a:\n    shell: 'echo $XDG_CACHE_HOME > where'\n")
    names = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--profile", ROOT / "profiles/local", "--cores", "1"],
        cwd=tmp_path,
        env=environment | {"HOME": NOWHERE},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "where").read_text().strip() == str(tmp_path / ".cache")


def test_neither_home_nor_project_can_be_written() -> None:
    """One line, before Snakemake would end with a traceback."""
    done = subprocess.run(
        [sys.executable, "-c", "from tacolab.files import caches; caches.settle()"],
        cwd="/proc",
        env=os.environ | {"XDG_CACHE_HOME": NOWHERE},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "/proc/.cache: cannot be written" in line and "XDG_CACHE_HOME" in line
