"""What a config means and what of it is there; what lies in results/ and no config means."""

import logging
import math
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tacolab.cluster import slurm
from tacolab.cluster.lease import Holder, Watch, newest
from tacolab.errors import StageError, UserError
from tacolab.overview.trainings import TrainingStatus
from tacolab.plan import RESULTS, Artefact, Plan, leftovers, snapshots
from tacolab.plan.stages import STAGES, TRAIN
from tacolab.readers import training_folder

log = logging.getLogger(__name__)

_KEY = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class ArtefactState:
    """One artefact. state: done, missing, what is wrong with it, or that of a training."""

    artefact: Artefact
    state: str

    @property
    def names(self) -> str:
        return " ".join(self.artefact.names.values())


def rows(plan: Plan, trainings: Iterable[TrainingStatus]) -> list[ArtefactState]:
    """Every artefact of the plan, in the order in which it is made."""
    trained = {f"train {t.arm} {t.lmbda} {t.seed} {t.key}": t.state for t in trainings}

    def state(artefact: Artefact) -> str:
        if artefact.stage.work == "training":
            return trained[str(artefact)]
        try:
            return "done" if artefact.done else "missing"
        except OSError as error:
            return f"unreadable: {error.strerror}"

    ordered = sorted(plan, key=lambda artefact: STAGES.index(artefact.stage))
    return [ArtefactState(artefact, state(artefact)) for artefact in ordered]


def orphans(plans: Iterable[Plan]) -> list[Path]:
    """What may go from results/: it carries a key that no plan means, or a killed run left it."""
    plans = list(plans)
    artefacts = [artefact for plan in plans for artefact in plan]
    known = {_unit(path) for a in artefacts for path in (*a.files, *a.begun)}
    known |= {unit.parent / unit.readlink() for unit in known if unit and unit.is_symlink()}
    found: set[Path] = set()
    for stage in STAGES:
        folder = stage.folder
        for name in filter(None, (*stage.files, stage.state)):
            pattern = re.sub(r"\{\w+\}", "*", f"{folder}/{name}")
            found |= {unit for path in RESULTS.glob(pattern) if (unit := _unit(path))}
        # Also what was begun and never finished: a folder with nothing but its state.
        if folder.endswith("{key}") or "{key}/" in folder:
            pattern = re.sub(r"\{\w+\}", "*", folder[: folder.index("{key}")]) + "*"
            found |= {path for path in RESULTS.glob(pattern) if _KEY.fullmatch(path.name)}
    found = {path for path in found - known if not path.is_symlink()}
    left = leftovers.left(plans)
    found |= _unused_code(plans)
    return sorted(found | {path for path in left if not found.intersection(path.parents)})


def _unused_code(plans: Iterable[Plan]) -> set[Path]:
    """Snapshots of code that no unfinished training names; none while anything runs or waits."""
    if _at_work():
        return set()
    named = {snapshots.code()}
    for plan in plans:
        for model in plan.every(TRAIN):
            if not model.done:
                named |= {segment.start.code for segment in training_folder.read(model).segments}
    return {path for path in snapshots.CODE.glob("*") if path.name not in named}


def _at_work() -> bool:
    """Whether a head or job of this folder may live."""
    folder = RESULTS / "head"
    head = newest(folder)
    if head and Watch(math.inf).life(folder, head, Holder.me(0)) != "gone":
        return True
    try:
        jobs = slurm.queue(slurm.SECONDS) or []
    except StageError as error:
        log.warning("%s; copies of code in %s are kept", error, snapshots.CODE)
        return True
    return any(job.here for job in jobs)


def _unit(path: Path) -> Path | None:
    """The part of a path up to its key: what is kept or deleted as one."""
    for parent in (path, *path.parents):
        if _KEY.fullmatch(parent.name.split(".")[0]):
            return parent
    return None


def size(path: Path) -> int:
    """Bytes of a file or of everything in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files)


def delete(path: Path) -> None:
    """Remove a file or folder for good, and links beside it. Raises UserError outside results/."""
    # Of a link, where it stands, and not where it leads to.
    if RESULTS.resolve() not in (path.parent.resolve() / path.name).parents:
        raise UserError(f"{path}: not in {RESULTS}/; nothing is deleted there")
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    for link in path.parent.iterdir():  # of a report
        if link.is_symlink() and link.readlink() == Path(path.name):
            link.unlink()
