"""What killed runs have left in results/: half-written files, and state of what is complete."""

import fnmatch
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tacolab.cluster import slurm
from tacolab.files import atomic
from tacolab.files.process import slurm_job
from tacolab.plan.plan import Plan
from tacolab.plan.stage import RESULTS, Artefact

# Seconds without a change, after which a temporary file counts as left: of a process that nobody
# here knows, on another machine. It is only listed then, and deleted on request.
SILENT = 24 * 3600


def sweep(plan: Plan) -> None:
    """Remove what certainly nobody needs: of processes that ended, and of complete artefacts.

    Safe beside whatever works there.
    """
    for path in _begun(plan):
        atomic.remove(path)
    for path, lives in _temporaries():
        if lives is False:
            atomic.remove(path)


def forget(artefact: Artefact) -> None:
    """Remove the state of a complete artefact."""
    for path in artefact.begun:
        atomic.remove(path)


def left(plans: Iterable[Plan]) -> set[Path]:
    """What `sweep` would remove, and what seems to be left by processes of other machines."""
    found = {path for plan in plans for path in _begun(plan)}
    for path, lives in _temporaries():
        if lives is False or (lives is None and _silent(path)):
            found.add(path)
    return found


def _begun(plan: Plan) -> Iterator[Path]:
    """State of artefacts that are complete: killed while it was removed."""
    for artefact in plan:
        if (begun := artefact.begun) and artefact.done:
            yield from begun


def _temporaries() -> Iterator[tuple[Path, bool | None]]:
    """Temporary files and folders, and whether those live who write them; None: nobody knows."""
    for folder, folders, files in os.walk(RESULTS):  # what vanishes meanwhile is no error to it
        for name in fnmatch.filter([*folders, *files], atomic.TEMPORARY):
            path = Path(folder) / name
            yield path, _lives(path)
        # What lies in one goes with it.
        folders[:] = [name for name in folders if not fnmatch.fnmatch(name, atomic.TEMPORARY)]


def _lives(path: Path) -> bool | None:
    process = atomic.owner(path)
    if process is None or process.lives is not None:
        return process.lives if process else None
    if process.job and process.job != slurm_job():
        state = slurm.state(process.job)
        if state is not None and state not in slurm.RUNNING:
            return False
    return None


def _silent(path: Path) -> bool:
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    try:
        newest = max(file.lstat().st_mtime for file in files)
    except FileNotFoundError:
        return False  # it is being written, or removed
    return time.time() - newest > SILENT
