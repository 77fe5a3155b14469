"""The page: what was run, figures, tables, gallery, provenance. No network, no scripts."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd

from tacolab.config import OWN, ClipText, Study
from tacolab.keys import Artefact
from tacolab.report import formats
from tacolab.report.curves import MIN_POINTS
from tacolab.report.gallery import Photo
from tacolab.report.inputs import ARM, Inputs
from tacolab.report.layout import KODAK, METRICS, PER_IMAGE, PUBLISHED, TABLES, figure_file


def render(
    study: Study,
    report: Artefact,
    inputs: Inputs,
    frames: dict[str, pd.DataFrame],
    photos: list[Photo],
) -> str:
    """The HTML of index.html; links are relative to it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Names of data sets and images may hold '%', '#' or spaces.
    environment.filters["url"] = lambda path: quote(path, safe="/")
    environment.filters["cell"] = lambda value, column: formats.text(column, value)
    return environment.get_template("template.html").render(
        study=study,
        report=report,
        facts=facts(study, inputs),
        figures=[_figures(study, dataset) for dataset in study.protocol.datasets],
        tables={name: _table(frame) for name, frame in frames.items()},
        table_names=TABLES,
        per_image=PER_IMAGE,
        published=PUBLISHED if KODAK in study.protocol.datasets else None,
        bd_missing=_why_empty(frames["bd"]),
        min_points=MIN_POINTS,
        photos=photos,
        provenance=provenance(inputs),
    )


def facts(study: Study, inputs: Inputs) -> dict[str, list[str]]:
    """What a reader must know before believing a number: name -> lines."""
    trained = [model.info for model in inputs.models if model.artefact.stage == "train"]
    trained_on = dict.fromkeys(study.recipe(arm).dataset for arm in study.trained_arms())
    recipes = [study.recipe(arm) for arm in study.trained_arms()]
    steps = formats.spread([info.get("steps") for info in trained])
    epochs = formats.spread([recipe.epochs for recipe in recipes])
    batch = formats.spread([recipe.batch for recipe in recipes])
    crop = formats.spread([recipe.crop for recipe in recipes])
    seeds = dict.fromkeys(model.seed for model in inputs.models)
    lambdas = dict.fromkeys(model.lmbda for model in inputs.models)
    sizes = ", ".join(map(str, study.codec.groups))
    return {
        "Text encoder": _encoders(study),
        "Trained on": [_training_set(study, inputs, dataset) for dataset in trained_on],
        "Evaluated on": [_evaluation_set(study, inputs, name) for name in study.protocol.datasets],
        "Training": [
            f"{steps} steps ({epochs} epochs) per model, batch {batch}, crops of {crop} pixels",
            _losses(study),
        ],
        "Models": [
            f"{len(inputs.models)}: arms {', '.join(study.arms_with_runs())}; "
            f"λ {', '.join(lambdas)}; seed {', '.join(seeds)}"
        ],
        "Codec": [
            f"N = {study.codec.N}, M = {study.codec.M}, channel groups {sizes} "
            "(published: N = 192, M = 320)",
            *_parameters(study, inputs),
        ],
    }


def _encoders(study: Study) -> list[str]:
    lines = []
    for name, encoder in study.encoders.items():
        arms = [arm for arm in study.arms_with_runs() if study.arms[arm].text == name]
        if arms:
            size = f"{encoder.max_tokens} tokens, {encoder.width} wide"
            kind = "CLIP" if isinstance(encoder, ClipText) else "transformers"
            lines.append(f"{name} ({kind}: {encoder.model}; {size}): arm {', '.join(arms)}")
    without = [arm for arm in study.arms_with_runs() if study.arms[arm].text is None]
    return lines + ([f"none: arm {', '.join(without)}"] if without else [])


def _training_set(study: Study, inputs: Inputs, dataset: str) -> str:
    infos = [
        m.info
        for m in inputs.models
        if m.artefact.stage == "train" and study.recipe(m.arm).dataset == dataset
    ]
    pairs = formats.spread([info.get("samples") for info in infos])
    held = formats.spread([info.get("validation", {}).get("images") for info in infos])
    used = f": {pairs} image-caption pairs" if pairs else ""
    return f"{dataset}{used}" + (f"; validated on {held} images held out of it" if held else "")


def _evaluation_set(study: Study, inputs: Inputs, dataset: str) -> str:
    points = inputs.points[(inputs.points["dataset"] == dataset) & (inputs.points["kind"] == ARM)]
    own = points[points["control"] == OWN]
    how = study.protocol.datasets[dataset]
    crop = f"centre crops of {how.crop} pixels" if how.crop else "uncropped"
    captions = f", {how.captions} captions each" if how.captions > 1 else ""
    count = formats.spread(own["images"].tolist())
    return f"{dataset}: {count} {'image' if count == '1' else 'images'}, {crop}{captions}"


def _losses(study: Study) -> str:
    recipes = [study.recipe(arm) for arm in study.trained_arms()]
    ranges = ", ".join(dict.fromkeys(recipe.lpips_range for recipe in recipes))
    joint = formats.spread([recipe.joint_weight for recipe in recipes])
    return (
        f"loss weights: LPIPS {formats.spread([recipe.lpips_weight for recipe in recipes])} "
        f"({ranges} range), joint image-text loss {'off' if joint in ('0', '0.0') else joint}"
    )


def _parameters(study: Study, inputs: Inputs) -> list[str]:
    lines = []
    for arm in study.arms_with_runs():
        codec: dict[str, Any] = next(
            (m.info.get("codec", {}) for m in inputs.models if m.arm == arm), {}
        )
        if codec.get("parameters") is not None:
            adapter = codec.get("adapter_parameters")
            part = f", {adapter:,} of them in the text adapter" if adapter else ""
            lines.append(f"{arm}: {codec['parameters']:,} parameters{part}")
    return lines


def _figures(study: Study, dataset: str) -> dict[str, Any]:
    arms = ", ".join(study.arms_with_runs())
    return {
        "dataset": dataset,
        "panels": [
            {
                "svg": figure_file(dataset, metric, "svg"),
                "png": figure_file(dataset, metric, "png"),
                "title": metric.title,
                "caption": f"{metric.direction.capitalize()}. {metric.remark}",
                "alt": f"{metric.title} against bit per pixel on {dataset} for {arms}; "
                "the numbers are in the table of results",
            }
            for metric in METRICS
        ],
    }


def _table(frame: pd.DataFrame) -> dict[str, Any]:
    """A table without its empty columns, cells as text."""
    frame = formats.without_empty(frame)
    columns = [str(column) for column in frame]
    return {
        "columns": [
            {"head": formats.head(column), "numeric": formats.numeric(column, frame)}
            for column in columns
        ],
        "rows": formats.cells(frame),
    }


def _why_empty(bd: pd.DataFrame) -> list[str] | None:
    """The reasons when no Bjontegaard difference could be computed at all, else None."""
    if bd["bd_rate"].notna().any():
        return None
    return list(dict.fromkeys(str(note) for note in bd["note"]))


def provenance(inputs: Inputs) -> dict[str, str]:
    """Every value that made the inputs, with counts where they differ: field -> values."""
    fields = dict.fromkeys(name for entry in inputs.provenance for name in entry)
    lines = {}
    for name in fields:
        if name in ("command", "slurm_job"):  # of each job its own; they stand in the JSON files
            continue
        values = [str(entry[name]) for entry in inputs.provenance if entry.get(name) is not None]
        if name == "created" and values:
            lines[name] = f"{min(values)} to {max(values)}"
            continue
        counts = {value: values.count(value) for value in dict.fromkeys(values)}
        if len(counts) == 1:
            lines[name] = values[0]
        elif counts:
            lines[name] = ", ".join(f"{value} ({count} times)" for value, count in counts.items())
    return lines
