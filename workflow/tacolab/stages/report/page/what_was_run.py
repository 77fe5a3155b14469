"""What was run: facts for the head of the page, what is missing, and provenance."""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tacolab.config import OWN, Study
from tacolab.stages.report import by_stage
from tacolab.stages.report.frames import ARM
from tacolab.stages.report.inputs import Inputs
from tacolab.stages.report.training import warm_start


def facts(study: Study, inputs: Inputs) -> dict[str, list[str]]:
    """What a reader must know before believing a number: name -> lines."""
    trained = [model.info for model in inputs.models if model.trained]
    trained_on = dict.fromkeys(study.recipe(arm).dataset for arm in study.trained_arms())
    recipes = [study.recipe_at(arm, lmbda) for arm, lmbda in _trained(study)]
    steps = _spread([info.get("steps") for info in trained])
    epochs = _spread([recipe.epochs for recipe in recipes])
    batch = _spread([recipe.batch for recipe in recipes])
    crop = _spread([recipe.crop for recipe in recipes])
    precisions = dict.fromkeys(recipe.precision for recipe in recipes)
    seeds = dict.fromkeys(model.seed for model in inputs.models)
    lambdas = dict.fromkeys(model.lmbda for model in inputs.models)
    sizes = ", ".join(map(str, study.codec.groups))
    return {
        "Arms": [_arm(study, name) for name in study.arms_with_runs()],
        "Text encoder": _encoders(study),
        "Trained on": [_training_set(study, inputs, dataset) for dataset in trained_on],
        "Evaluated on": [_evaluation_set(study, inputs, name) for name in study.protocol.datasets],
        "Training": [
            f"{steps} steps ({epochs} epochs) per model, batch {batch}, crops of {crop} pixels, "
            f"in {' and '.join(precisions)}",
            *_warm_starts(study),
            *_rates(study),
            _losses(study),
        ],
        "Models": [
            f"{len(inputs.models)}: arms {', '.join(study.arms_with_runs())}; "
            f"λ {', '.join(lambdas)}; seed {', '.join(seeds)}"
        ],
        "Codec": [
            f"N = {study.codec.N}, M = {study.codec.M}, channel groups {sizes} "
            "(in the paper: N = 192, M = 320)",
            *_parameters(study, inputs),
        ],
    }


def _arm(study: Study, name: str) -> str:
    how = study.arms[name]
    text = f"{name}: {how.description}" if how.description else name
    return f"{text} (stand-in: {how.stand_in})" if how.stand_in else text


def _trained(study: Study) -> list[tuple[str, str]]:
    """Arm and lambda of every model that is trained here."""
    arms = study.trained_arms()
    return list(dict.fromkeys((arm, lmbda) for arm, lmbda, _ in study.runs() if arm in arms))


def _warm_starts(study: Study) -> list[str]:
    """A line for all models with the same start and the same number of epochs after it."""
    alike: dict[tuple[str, str], list[str]] = {}
    for arm, lmbda in _trained(study):
        if start := warm_start(study, arm, lmbda):
            recipe = study.recipe_at(arm, lmbda)
            how = f"{recipe.epochs} epochs after the weights of {start}"
            drops = ", ".join(str(epoch) for epoch in recipe.milestones if epoch < recipe.epochs)
            if recipe.schedule == "steps" and drops:
                how += f", learning rate x 0.1 from epoch {drops} on"
            alike.setdefault((arm, how), []).append(lmbda)
    return [
        f"warm start, not the published recipe: {arm} at λ {', '.join(lambdas)}: {how}"
        for (arm, how), lambdas in alike.items()
    ]


def _rates(study: Study) -> list[str]:
    """A line per learning rate; all in one where there is no other."""
    arms: dict[str, list[str]] = {}
    for name in study.trained_arms():
        recipe = study.recipe(name)
        rate = f"learning rate {recipe.learning_rate}"
        rate += ", falling along a cosine" if recipe.schedule == "cosine" else ""
        arms.setdefault(rate, []).append(name)
    if len(arms) == 1:
        return list(arms)
    return [f"{rate}: {', '.join(names)}" for rate, names in arms.items()]


def _encoders(study: Study) -> list[str]:
    lines = []
    for name, encoder in study.encoders.items():
        arms = [arm for arm in study.arms_with_runs() if study.arms[arm].text == name]
        if arms:
            size = f"{encoder.positions} tokens, {encoder.width} wide"
            what = f"{encoder.kind}: {encoder.model}; {size}"
            lines.append(f"{name} ({what}): arm {', '.join(arms)}")
    without = [arm for arm in study.arms_with_runs() if study.arms[arm].text is None]
    return lines + ([f"none: arm {', '.join(without)}"] if without else [])


def _training_set(study: Study, inputs: Inputs, dataset: str) -> str:
    infos = [m.info for m in inputs.models if m.trained and study.recipe(m.arm).dataset == dataset]
    pairs = _spread([info.get("samples") for info in infos])
    held = _spread([info.get("validation", {}).get("images") for info in infos])
    used = f": {pairs} image-caption pairs" if pairs else ""
    return f"{dataset}{used}" + (f"; validated on {held} images held out of it" if held else "")


def _spread(values: list[Any]) -> str:
    """`a`, or `a to b` where values differ; empty where none is known."""
    known = sorted({Decimal(str(value)) for value in values if value is not None})
    if not known:
        return ""
    first, last = f"{known[0]:,}", f"{known[-1]:,}"
    return first if first == last else f"{first} to {last}"


def _evaluation_set(study: Study, inputs: Inputs, dataset: str) -> str:
    points = inputs.points[(inputs.points["dataset"] == dataset) & (inputs.points["kind"] == ARM)]
    own = points[points["control"] == OWN]
    how = study.protocol.datasets[dataset]
    crop = f"centre crops of {how.crop} pixels" if how.crop else "uncropped"
    captions = f"{how.captions} caption{'s' if how.captions > 1 else ''} each"
    more = [f"{n} for {arm}" for arm, n in how.captions_by_arm.items() if n != how.captions]
    captions = ", ".join([captions, *more]) if more or how.captions > 1 else ""
    count = _spread(own["images"].tolist())
    parts = [f"{count} {'image' if count == '1' else 'images'}", crop, captions]
    if excluded := inputs.excluded.get(dataset):
        parts.append(f"{excluded:,} more are too small")
    return f"{dataset}: {', '.join(filter(None, parts))}"


def _losses(study: Study) -> str:
    recipes = [study.recipe(arm) for arm in study.trained_arms()]
    ranges = ", ".join(dict.fromkeys(recipe.lpips_range for recipe in recipes))
    joint = _spread([recipe.joint_weight for recipe in recipes])
    return (
        f"loss weights: LPIPS {_spread([recipe.lpips_weight for recipe in recipes])} "
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


@dataclass(frozen=True)
class Unfinished:
    """A training that is not done: its name, how far it is, in words."""

    name: str
    progress: str


def unfinished(study: Study, inputs: Inputs) -> list[Unfinished]:
    """Trainings that are not done, in the study's order."""
    found = []
    for one in inputs.trainings:
        if one.done:
            continue
        name = f"{one.arm}, λ {one.lmbda}"
        name += f", seed {one.seed}" if int(one.seed) != study.seed else ""
        progress = "not begun"
        if one.begun:
            progress = f"in training: step {one.step:,}"
            if one.steps:
                epoch = one.step * one.epochs / one.steps
                progress += f" of {one.steps:,} (epoch {epoch:.1f} of {one.epochs})"
        found.append(Unfinished(name, progress))
    return found


def missing(inputs: Inputs) -> list[str]:
    """What else is not there, counted: `12 evaluations of context`."""
    counts = Counter(
        (by_stage.title(one), one.names.get("arm") or one.names.get("codec") or "")
        for one in inputs.missing
        if not by_stage.is_training(one)
    )
    return [f"{what}{f' of {whose}' if whose else ''}: {n}" for (what, whose), n in counts.items()]
