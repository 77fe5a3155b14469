"""What a config means and what of it is there; what lies in results/ and no config means."""

import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tacolab import fingerprint
from tacolab.errors import UserError
from tacolab.keys import LAYOUT, RESULTS, Artefact, Plan

_KEY = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class Row:
    """One artefact; `state` is done, missing, how far a training is, or what is wrong with it."""

    stage: str
    names: str
    key: str
    state: str


def rows(plan: Plan) -> list[Row]:
    """Every artefact of the plan, in the order in which it is made."""
    stages, metrics = list(LAYOUT), fingerprint.metrics()
    ordered = sorted(plan, key=lambda artefact: stages.index(artefact.stage))
    return [
        Row(
            artefact.stage,
            " ".join(artefact.names.values()),
            artefact.key,
            _state(artefact, metrics),
        )
        for artefact in ordered
    ]


def _state(artefact: Artefact, metrics: str) -> str:
    if artefact.done:
        return "measured by other code" if fingerprint.outdated(artefact, metrics) else "done"
    if artefact.stage == "train" and (artefact.folder / "state").exists():
        return f"begun, step {steps_done(artefact)}"
    return "missing"


def steps_done(model: Artefact) -> int:
    """The last step that `train.jsonl` of a training tells of; 0 where there is none."""
    history = model.folder / "state" / "train.jsonl"
    steps = [line["step"] for line in _lines(history) if "step" in line] if history.exists() else []
    return int(steps[-1]) if steps else 0


def _lines(path: Path) -> Iterable[dict[str, Any]]:
    """JSON lines; a last one torn by a kill is left out."""
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return


def orphans(plans: Iterable[Plan]) -> list[Path]:
    """Folders and files in results/ that carry a key which none of the plans means."""
    known = {_unit(path) for plan in plans for artefact in plan for path in artefact.files}
    found: set[Path] = set()
    for folder, files in LAYOUT.values():
        for name in files:
            pattern = re.sub(r"\{\w+\}", "*", f"{folder}/{name}")
            found |= {unit for path in RESULTS.glob(pattern) if (unit := _unit(path))}
        # Also what was begun and never finished: a folder with nothing but its state.
        if folder.endswith("{key}") or "{key}/" in folder:
            pattern = re.sub(r"\{\w+\}", "*", folder[: folder.index("{key}")]) + "*"
            found |= {path for path in RESULTS.glob(pattern) if _KEY.fullmatch(path.name)}
    return sorted(path for path in found - known if not path.is_symlink())


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
    """Remove a file or folder for good. Raises UserError outside results/."""
    if RESULTS.resolve() not in path.resolve().parents:
        raise UserError(f"{path}: not in {RESULTS}/; nothing is deleted there")
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
