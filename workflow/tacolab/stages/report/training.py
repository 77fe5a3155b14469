"""Training curves, from what a training leaves in its state folder: also of one that still runs."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from tacolab.config import Start, Study
from tacolab.files import json_lines
from tacolab.plan import Artefact

COLUMNS = ["epoch", "step", "loss", "validation"]


@dataclass(frozen=True)
class TrainingHistory:
    """One model's training so far. steps: of the whole; None while nobody knows.

    curve: COLUMNS; epoch is a fraction, `loss` the mean of the steps before, `validation` the loss
    on images held out. Empty in a copy of results/ without state/.
    """

    arm: str
    lmbda: str
    seed: str
    done: bool
    step: int
    steps: int | None
    epochs: int
    curve: pd.DataFrame

    @property
    def begun(self) -> bool:
        return self.done or self.step > 0


def read(model: Artefact) -> TrainingHistory:
    """Reads the history; a torn line, as of a training that is writing, is left out."""
    state = model.folder / "state"
    history = _lines(state / "train.jsonl")
    steps = next(
        (line["steps"] for line in reversed(_lines(state / "segments.jsonl")) if line.get("steps")),
        None,
    )
    rows: list[dict[str, Any]] = []
    for line in history:
        held_out = line.get("validation")
        of = held_out if isinstance(held_out, dict) else line
        if isinstance(of.get("step"), int):
            name = "validation" if of is held_out else "loss"
            rows.append({"step": of["step"], name: of.get("loss")})
    epochs = int(model.spec["training"]["epochs"])
    curve = pd.DataFrame(rows, columns=COLUMNS[1:]).astype(float)
    last = int(curve["step"].max()) if len(curve) else 0
    done = all(path.exists() for path in model.files if path.suffix == ".json")
    steps = steps or (last if done else None)
    curve = _whole(curve)
    curve.insert(0, "epoch", curve["step"] * epochs / steps if steps else float("nan"))
    names = model.names
    return TrainingHistory(
        names["arm"], names["lmbda"], names["seed"], done, last, steps, epochs, curve
    )


def warm_start(study: Study, arm: str, lmbda: str) -> str:
    """Whose weights a training starts with, in words; empty where it starts fresh."""
    start = study.recipe_at(arm, lmbda).start
    if not isinstance(start, Start):
        return ""
    adapter = ", with a fresh text adapter" if start.adapter == "fresh" else ""
    if start.file:
        return f"{start.file.name} (sha256 {str(start.sha256)[:8]}){adapter}"
    if start.bundled:
        return f"the bundled model “{start.bundled}”{adapter}"
    return f"{start.arm} at λ {start.lmbda}{adapter}"


def _whole(curve: pd.DataFrame) -> pd.DataFrame:
    """Without a last mean over far fewer steps than the others': it would look like a jump."""
    steps = curve["step"][curve["loss"].notna()]
    over = steps.diff()
    few = len(steps) > 2 and over.iloc[-1] < over.median() / 2
    return curve.drop(steps.index[-1:]) if few else curve


def _lines(path: Any) -> list[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            return [line.content for line in json_lines.read(file) if line.content]
    except OSError:
        return []


def table(trainings: list[TrainingHistory]) -> pd.DataFrame:
    """All curves as one table: the data of the figures."""
    frames = [
        one.curve.assign(arm=one.arm, lmbda=one.lmbda, seed=one.seed)
        for one in trainings
        if len(one.curve)
    ]
    columns = ["arm", "lmbda", "seed", *COLUMNS]
    return pd.concat(frames)[columns] if frames else pd.DataFrame(columns=columns)
