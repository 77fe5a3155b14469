"""The JSON beside an artefact: what it is, and what made it. Never secrets."""

import os
import platform
import socket
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from tacolab.plan.keys import Artefact

PACKAGES = (
    "torch",
    "compressai",
    "transformers",
    "numpy",
    "pillow",
    "lpips",
    "datasets",
    "pyarrow",
    "spacy",
    "scikit-learn",
)


def describe(artefact: Artefact, **facts: Any) -> dict[str, Any]:
    """The content of that file; facts: what its stage says of it, ready for JSON."""
    return {
        "key": artefact.key,
        "text": artefact.text,
        **facts,
        "provenance": provenance(),
    }


def provenance() -> dict[str, str | None]:
    """Versions, machine, revision, SLURM job: strings only."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "revision": _revision(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "command": " ".join(sys.argv),
    }


@cache  # reading it takes a few milliseconds, and what is loaded stays
def _version(package: str) -> str | None:
    """None where a stage needs none of it: its environment may be a smaller one."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _revision() -> str | None:
    """Git revision of the running code, `+` appended when edited; None outside a checkout."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
