"""The JSON beside an artefact: what it is, and what made it. Never secrets."""

import os
import platform
import socket
import sys
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from typing import Any

from tacolab.plan import snapshots
from tacolab.plan.stage import Artefact

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
        "text": artefact.ingredients,
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
        "revision": snapshots.revision(),
        "code": snapshots.code(),
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
