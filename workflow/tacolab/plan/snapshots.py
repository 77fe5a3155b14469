"""Config and code as they were planned: jobs read these, whatever is edited while they wait.

    results/config/{digest}.json    the merged config
    results/code/{digest}/          workflow/ and envs/ of the checkout

Both are written once and never changed.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tacolab.files import atomic
from tacolab.plan.stage import RESULTS, digest

# The checkout, or the snapshot, of which this module is a part.
ROOT = Path(__file__).resolve().parents[3]
CODE = RESULTS / "code"
_FOLDERS = ("workflow", "envs")
_REVISION = "revision"  # a file of a snapshot


def config_path(config: Mapping[str, Any]) -> Path:
    """Where the merged config lies for jobs."""
    return RESULTS / "config" / f"{digest(config)}.json"


def keep_config(config: Mapping[str, Any]) -> Path:
    """Write the merged config; its path."""
    path = config_path(config)
    content = (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()
    if not path.exists() or path.read_bytes() != content:
        atomic.write_bytes(path, content)
    return path


@cache
def code() -> str:
    """Eight hex digits of the running code, all of its bytes."""
    return ROOT.name if (ROOT / _REVISION).is_file() else _digest(ROOT)


def _digest(root: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(_sources(root)):
        found.update(os.fsencode(path.relative_to(root)) + b"\0")
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:8]


def code_path() -> Path:
    """Where the running code lies for jobs."""
    return CODE / code()


def keep_code() -> Path:
    """Copy the running code; its folder. One that is damaged, by a purge of old files say, is
    made again: jobs would end, or find another code."""
    folder = code_path()
    if folder.exists() and not (folder.is_dir() and _digest(folder) == code()):
        atomic.remove(folder)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = atomic.temporary(folder)
        try:
            for path in _sources(ROOT):
                copy = fresh / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
            (fresh / _REVISION).write_text(revision() or "")
            fresh.rename(folder)
        except OSError:
            if not folder.exists():  # else another head was as quick
                raise
        finally:
            atomic.remove(fresh)
    return folder


def revision() -> str | None:
    """Git revision of the running code, `+` appended when edited; None outside a checkout."""
    kept = ROOT / _REVISION
    if kept.is_file():
        return kept.read_text() or None
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()


def _sources(root: Path) -> Iterator[Path]:
    """Not what Python, editors and systems leave beside them."""
    for folder in _FOLDERS:
        for path in (root / folder).rglob("[!.]*[!~]"):
            parts = path.relative_to(root).parts
            caches = any(part == "__pycache__" or part.endswith(".egg-info") for part in parts)
            if path.is_file() and path.suffix != ".pyc" and not caches:
                yield path
