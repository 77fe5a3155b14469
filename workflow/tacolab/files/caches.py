"""Where Snakemake and libraries keep their caches: in a folder that can be written.

HOME often cannot be, above all in batch jobs, and Snakemake without a cache ends with a traceback.
"""

import os
import sys
import tempfile
from pathlib import Path


def usual() -> Path:
    """As XDG_CACHE_HOME or HOME say."""
    # Not Path.expanduser, which raises where nothing tells a home.
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111


# Of whoever started this process.
AT_START = usual()


def problem(folder: Path) -> str:
    """Why nothing can be written there; "" where it can."""
    if not folder.is_absolute():
        return "no absolute path"  # also `~`, where nothing tells a home
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def ensure() -> None:
    """Where the usual folder cannot be written, take the present folder's, as `settle` does."""
    if problem(usual()):
        settle()


def settle() -> None:
    """Keep caches in the present folder's .cache, for this process and its jobs.

    Unless XDG_CACHE_HOME names a folder that can be written. Profiles call this before Snakemake
    begins, since its jobs may find another HOME than its head. Models of the Hugging Face hub stay
    where they are.
    """
    before, here = usual(), Path.cwd() / ".cache"
    if os.environ.get("XDG_CACHE_HOME") and not problem(before):
        return
    if why := problem(here):
        print(
            f"tacolab: {here}: cannot be written ({why}); start it in a folder that can be, or "
            "export XDG_CACHE_HOME=/a/folder/that/can",
            file=sys.stderr,
        )
        sys.exit(2)
    if problem(before):
        os.environ.setdefault("MPLCONFIGDIR", str(here / "matplotlib"))
    hub = before / "huggingface"
    # Not Path.is_dir, which raises in a home that cannot be read.
    if hub.is_absolute() and (os.path.isdir(hub) or not problem(before)):  # noqa: PTH112
        os.environ.setdefault("HF_HOME", str(hub))
    os.environ["XDG_CACHE_HOME"] = str(here)
