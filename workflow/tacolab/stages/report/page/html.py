"""The page: one file of HTML that works from disk, without network."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd

from tacolab.config import Study
from tacolab.plan import Artefact
from tacolab.quality.bd_rate import MIN_POINTS
from tacolab.stages.report import layout
from tacolab.stages.report.figures.times import VARIED
from tacolab.stages.report.inputs import Inputs
from tacolab.stages.report.judge.relations import VERDICTS
from tacolab.stages.report.layout import METRICS, Metric, figure_file
from tacolab.stages.report.measure import published
from tacolab.stages.report.measure.controls import BOTH
from tacolab.stages.report.page import claims_shown, what_was_run
from tacolab.stages.report.page.columns import column
from tacolab.stages.report.page.gallery import GalleryPhoto
from tacolab.stages.report.page.shown_tables import shown
from tacolab.stages.report.training import warm_start

# Columns that the page leaves to the files.
HIDDEN = {
    "verdicts": ("id", "arm", "metric", "lmbda", "value", "claimed_in", "in_config"),
    "timing": ("device_type", "threads", "width_factor", "repeats"),
    "controls": tuple(f"{name}_{side}" for name in BOTH[1:] for side in ("own", "control")),
}
UNSTEADY = 0.1  # of a time: an interval wider than this
BAR = {"confirmed": "yes", "contradicted": "no", "not confirmed": "open"}


def environment() -> jinja2.Environment:
    """Templates of this folder; every value is text, never markup."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Names of data sets and images may hold '%', '#' or spaces.
    found.filters["url"] = lambda path: quote(path, safe="/")
    found.filters["cell"] = lambda value, name: column(name).text(value)
    return found


def render(
    study: Study,
    report: Artefact,
    inputs: Inputs,
    frames: dict[str, pd.DataFrame],
    photos: list[GalleryPhoto],
    partial: bool,
) -> str:
    """The HTML of index.html; links are relative to it.

    partial: the study is not finished.
    """
    kodak = layout.KODAK in study.protocol.datasets
    claims = frames["verdicts"]
    here, others = claims_shown.measured_here(claims), claims_shown.others(claims)
    frames = frames | {"verdicts": here, "other-claims": others}
    counts = here["verdict"].value_counts()
    return environment().get_template("template.html").render(
        study=study,
        report=report,
        partial=partial,
        there=len(report.inputs) - len(inputs.missing),
        facts=what_was_run.facts(study, inputs),
        unfinished=what_was_run.unfinished(study, inputs),
        missing=what_was_run.missing(inputs),
        verdicts={name: int(counts.get(name, 0)) for name in VERDICTS},
        fold_line=claims_shown.fold_line(len(others)),
        figures=[_curves(study, dataset) for dataset in study.protocol.datasets],
        captions=[_captions(dataset) for dataset in layout.controlled(study)],
        timing=[_timing(name) for name in layout.timed(study)],
        unsteady=_unsteady(inputs.timing),
        training=[_training(study, lmbda) for lmbda in layout.trained_lambdas(study)],
        tables={name: shown(f, HIDDEN.get(name, ())) for name, f in frames.items()},
        lengths={name: len(frame) for name, frame in frames.items()},
        bar=BAR,
        per_image=layout.PER_IMAGE,
        published=layout.PUBLISHED if kodak else None,
        citations=list(dict.fromkeys(published.published()["citation"])) if kodak else [],
        bd_missing=_why_empty(frames["bd"]),
        min_points=MIN_POINTS,
        margins=study.protocol.margins,
        photos=photos,
        provenance=what_was_run.provenance(inputs),
    )  # fmt: skip


def _panel(name: str, title: str, caption: str, alt: str) -> dict[str, Any]:
    files = {kind: figure_file(name, kind) for kind in layout.FIGURE_KINDS}
    return {"files": files, "title": title, "caption": caption, "alt": alt}


def _curves(study: Study, dataset: str) -> dict[str, Any]:
    arms = ", ".join(study.arms_with_runs())

    def panel(metric: Metric) -> dict[str, Any]:
        return _panel(
            layout.rate_distortion(dataset, metric),
            f"{metric.title} on {dataset}",
            f"{metric.direction.capitalize()}. {metric.remark}",
            f"{metric.title} against bit per pixel on {dataset} for {arms}; the numbers are in the "
            "figure's CSV file and in the table of results",
        )

    metrics = (*METRICS, *layout.distances(study, dataset))
    return {"dataset": dataset, "panels": [panel(metric) for metric in metrics]}


def _captions(dataset: str) -> dict[str, Any]:
    return _panel(
        layout.captions(dataset),
        f"Other captions on {dataset}",
        "Rate that a model needs with other captions than its own, at equal PSNR and LPIPS. Bars "
        "are 95 % intervals over images; in the grey band a difference counts as none.",
        f"Change of rate at equal quality against lambda on {dataset}, a line per arm and control; "
        "the numbers are in the table of caption controls",
    )


def _timing(name: str) -> dict[str, Any]:
    _, _, varied = VARIED[name]
    return _panel(
        name,
        f"Time against {varied}",
        "Medians; bands are 95 % intervals. A plot for each part of the codec that depends on it; "
        "the other size is the smallest of the table.",
        f"Milliseconds against {varied} for each kind of attention; the numbers are in the table",
    )


def _unsteady(timing: pd.DataFrame) -> str:
    """How many times are uncertain: the machine was not alone, or its clock moved."""
    if timing.empty:
        return ""
    known = timing[timing["milliseconds"].notna()]
    wide = (known["high"] - known["low"] > UNSTEADY * known["milliseconds"]).sum()
    return f"{wide} of {len(known)}" if wide else ""


def _training(study: Study, lmbda: str) -> dict[str, Any]:
    warm = any(warm_start(study, arm, lmbda) for arm in study.trained_arms())
    note = " “From” another model: a warm start, not as published; its epochs are those after it."
    return _panel(
        layout.training(lmbda),
        f"Training at λ = {lmbda}",
        "Thin: mean of the training loss; thick: on images held out; the mark is the last step."
        + (note if warm else ""),
        f"Loss against epochs at lambda {lmbda}, a line per arm; the numbers are in the CSV file",
    )


def _why_empty(bd: pd.DataFrame) -> list[str] | None:
    """The reasons when no Bjontegaard difference could be computed at all, else None."""
    if bd["bd_rate"].notna().any():
        return None
    return list(dict.fromkeys(str(note) for note in bd["note"]))
