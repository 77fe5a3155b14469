"""What killed runs have left in results/: half-written files, and state of what is complete."""

import fnmatch
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tacolab.cluster import slurm
from tacolab.files import atomic
from tacolab.files.process import slurm_job
from tacolab.plan.plan import Plan
from tacolab.plan.stage import RESULTS, Artefact


def sweep(plan: Plan) -> None:
    """Remove what certainly nobody needs: of processes that ended, and of complete artefacts.

    Safe beside whatever works there.
    """
    for path in _begun(plan):
        atomic.remove(path)
    for path in _temporaries():
        if _left(path):
            atomic.remove(path)


def tidy(artefact: Artefact) -> None:
    """Before it is made: remove what killed processes have left half-written of its files."""
    for path in (*artefact.files, artefact.folder):
        for temporary in atomic.temporaries(path):
            if _left(temporary):
                atomic.remove(temporary)


def forget(artefact: Artefact) -> None:
    """Remove the state of a complete artefact."""
    for path in artefact.begun:
        atomic.remove(path)


def left(plans: Iterable[Plan]) -> set[Path]:
    """What `sweep` would remove."""
    begun = {path for plan in plans for path in _begun(plan)}
    return begun | {path for path in _temporaries() if _left(path)}


def _begun(plan: Plan) -> Iterator[Path]:
    """State of artefacts that are complete: killed while it was removed."""
    for artefact in plan:
        if (begun := artefact.begun) and artefact.done:
            yield from begun


def _temporaries() -> Iterator[Path]:
    """Temporary files and folders below results/."""
    for folder, folders, files in os.walk(RESULTS):  # what vanishes meanwhile is no error to it
        for name in fnmatch.filter([*folders, *files], atomic.TEMPORARY):
            yield Path(folder) / name
        # What lies in one goes with it.
        folders[:] = [name for name in folders if not fnmatch.fnmatch(name, atomic.TEMPORARY)]


def _left(path: Path) -> bool:
    """Whether no process writes it any more; SLURM is asked about jobs of other machines."""
    process = atomic.owner(path)
    if process and process.lives is None and process.job and process.job != slurm_job():
        state = slurm.state(process.job)
        if state is not None:
            return state not in slurm.RUNNING
    return atomic.left(path)
