"""Which arms may be judged by their baselines: real ones that learnt as much, the same way."""

from collections.abc import Mapping, Sequence

from tacolab.config import Study
from tacolab.stages.report.inputs import Model

# Human captions of COCO are five per image and some more, an API gives five.
TOLERANCE = 0.01
# What else of a recipe must be the same: all but its set, its length and what is only looked at.
APART = {"dataset", "epochs", "milestones", "export_epochs", "validation_images"}


def mismatches(study: Study, models: Sequence[Model]) -> dict[str, str]:
    """Arm -> why it must not be judged by its baseline; arms that may be judged are not in it.

    models: whose descriptions say from how many image-caption pairs an epoch was made.
    """
    pairs = {one.arm: one.info["samples"] for one in models if one.info.get("samples")}
    found = {arm: _mismatch(study, arm, pairs) for arm in study.arms_with_runs()}
    return {arm: why for arm, why in found.items() if why}


def _mismatch(study: Study, arm: str, pairs: Mapping[str, int]) -> str:
    reference = study.baseline_of(arm)
    if why := stand_ins(study, arm, reference):
        return why
    epochs = _epochs(study, arm), _epochs(study, reference)
    if None in epochs:
        return ""
    if epochs[0] != epochs[1]:
        return f"trained for {epochs[0]} epochs against {epochs[1]}: not comparable"
    own, other = (pairs.get(_trained_as(study, name)) for name in (arm, reference))
    if own and other and abs(own / other - 1) > TOLERANCE:
        return f"trained on {own:,} image-caption pairs against {other:,}: not comparable"
    recipes = _recipe(study, arm), _recipe(study, reference)
    for name, value in recipes[0].items():
        if value != recipes[1][name]:
            return f"trained with {name} {value} against {recipes[1][name]}: not comparable"
    return ""


def _recipe(study: Study, arm: str) -> dict[str, object]:
    """How an arm was trained, up to the epoch that it has."""
    recipe, epochs = study.recipe(arm), _epochs(study, arm) or 0
    reached = [epoch for epoch in recipe.milestones if epoch < epochs]
    return recipe.model_dump(exclude=APART) | {"milestones": reached}


def stand_ins(study: Study, *arms: str) -> str:
    """What these arms have in place of the real thing: no verdict may rest on it."""
    known = [name for name in dict.fromkeys(arms) if study.arms[name].stand_in]
    parts = [f"{name} has {study.arms[name].stand_in}" for name in known]
    return f"stand-in: {'; '.join(parts)}" if parts else ""


def _trained_as(study: Study, arm: str) -> str:
    """The arm whose training made its models; another one for what it was after some epoch."""
    of = study.arms[arm].of
    return of.arm if of else arm


def _epochs(study: Study, arm: str) -> int | None:
    """Epochs behind an arm's models; None where others trained them."""
    how = study.arms[arm]
    if how.checkpoints:
        return None
    return how.of.epoch if how.of else study.recipe(arm).epochs
