"""Tables of the report: headline numbers, differences, verdicts, models.

CSV files hold the numbers in full; elsewhere they are rounded by `page.columns`.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from tacolab.config import Study
from tacolab.stages.report.frames import ARM, BEST, DISTANCES, VALUES
from tacolab.stages.report.inputs import Inputs, Model
from tacolab.stages.report.judge import keywords, verdicts
from tacolab.stages.report.judge.evidence import MeasuredTables
from tacolab.stages.report.layout import PER_IMAGE
from tacolab.stages.report.measure import (
    baselines,
    captions,
    controls,
    differences,
    distances,
    published,
)
from tacolab.stages.report.measure.codings import sampled
from tacolab.stages.report.page.claims_shown import verdicts_markdown
from tacolab.stages.report.page.shown_tables import latex, markdown
from tacolab.stages.report.training import warm_start


def results(study: Study, inputs: Inputs) -> pd.DataFrame:
    """The headline: a row per arm, lambda, seed and control, and per quality of an anchor."""
    points = inputs.points.copy()
    textless = [name for name, arm in study.arms.items() if arm.text is None]
    points.loc[points["source"].isin(textless), "control"] = None  # it reads no captions
    columns = ["dataset", "source", "lmbda", "quality", "seed", "control", "images", "captions"]
    return points[[*columns, *VALUES, *DISTANCES, *BEST]].rename(columns={"captions": "codings"})


def _timing(rows: pd.DataFrame) -> pd.DataFrame:
    """Times with their intervals named as everywhere."""
    return rows.rename(columns={"low": "milliseconds_low", "high": "milliseconds_high"})


def models(study: Study, inputs: Inputs) -> pd.DataFrame:
    """The trained models: what each cost and where it came from."""
    return pd.DataFrame([_model(study, model) for model in inputs.models], columns=_MODEL)


def _model(study: Study, model: Model) -> dict[str, Any]:
    info = model.info
    seconds = info.get("seconds")
    best = info.get("validation", {}).get("best", {})
    codec = info.get("codec", {})
    return {
        "arm": model.arm,
        "lmbda": model.lmbda,
        "seed": model.seed,
        "key": model.artefact.key,
        "start": warm_start(study, model.arm, model.lmbda) if model.trained else "",
        "epochs": info.get("epochs"),
        "steps": info.get("steps"),
        "pairs": info.get("samples"),
        "minutes": None if seconds is None else seconds / 60,
        "segments": info.get("segments"),
        "best_step": best.get("step"),
        "best_loss": best.get("loss"),
        "parameters": codec.get("parameters"),
        "adapter_parameters": codec.get("adapter_parameters"),
        "revision": info.get("provenance", {}).get("revision"),
    }


_MODEL = [
    *("arm", "lmbda", "seed", "key", "start", "epochs", "steps", "pairs", "minutes", "segments"),
    *("best_step", "best_loss", "parameters", "adapter_parameters", "revision"),
]


def make(study: Study, inputs: Inputs) -> dict[str, pd.DataFrame]:
    """Every table by the name that `layout.TABLES` gives it."""
    codings = sampled(study, inputs.images)
    unequal = baselines.mismatches(study, inputs.models)
    bd = differences.bd_table(study, inputs.points, codings, unequal)
    singles = differences.points_table(study, codings, unequal)
    others = controls.table(study, inputs.images)
    far = distances.table(study, inputs.points, inputs.groups, singles, unequal)
    reproduced = published.table(study, inputs.points)
    arms = inputs.points[inputs.points["kind"] == ARM]
    coded = set(arms[["dataset", "source", "control"]].itertuples(index=False, name=None))
    measured = MeasuredTables(bd, singles, others, far, inputs.timing, reproduced, unequal, coded)
    return {
        "verdicts": verdicts.table(study, measured),
        "results": results(study, inputs),
        "bd": bd,
        "points": singles,
        "distances": far,
        "controls": others,
        "captions": captions.table(study, inputs),
        "keywords": keywords.table(study, singles, far),
        "reproduced": reproduced,
        "timing": _timing(inputs.timing),
        "models": models(study, inputs),
    }


def write(folder: Path, frames: dict[str, pd.DataFrame], inputs: Inputs) -> None:
    """Writes every table in every kind and the per-image table below `folder`."""
    (folder / "tables").mkdir()
    for name, frame in frames.items():
        frame.to_csv(folder / "tables" / f"{name}.csv", index=False)
        as_markdown = verdicts_markdown if name == "verdicts" else markdown
        for kind, text in (("md", as_markdown(frame)), ("tex", latex(frame))):
            (folder / "tables" / f"{name}.{kind}").write_text(text, encoding="utf-8")
    inputs.images.to_parquet(folder / PER_IMAGE, index=False)
