"""Which arms may be judged by their baselines: real ones that learnt as much, the same way."""

from collections.abc import Mapping, Sequence

from tacolab.config import Start, Study
from tacolab.stages.report.inputs import Model
from tacolab.stages.report.training import warm_start

# Human captions of COCO are five per image and some more, an API gives five.
TOLERANCE = 0.01
# What else of a recipe must be the same: all but its set, its length and what is only looked at.
APART = {"dataset", "epochs", "milestones", "export_epochs", "validation_images", "start"}


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
    if study.arms[arm].checkpoints or study.arms[reference].checkpoints:
        return ""  # trained by others
    lambdas, known = study.lambdas_of(arm), study.lambdas_of(reference)
    for lmbda in [lmbda for lmbda in lambdas if lmbda in known] or lambdas:
        if why := _unlike(study, arm, reference, lmbda):
            return why
    own, other = (pairs.get(_trained_as(study, name)) for name in (arm, reference))
    if own and other and abs(own / other - 1) > TOLERANCE:
        return f"trained on {own:,} image-caption pairs against {other:,}: not comparable"
    return ""


def _unlike(study: Study, arm: str, reference: str, lmbda: str) -> str:
    """How the training of an arm's model at a lambda differs from its baseline's."""
    if why := _other_start(study, arm, reference, lmbda):
        return why
    at = (arm, lmbda), (reference, lmbda)
    where = f" at λ {lmbda}" if warm_start(study, arm, lmbda) else ""
    epochs = [_epochs(study, *model) for model in at]
    if epochs[0] != epochs[1]:
        return f"trained for {epochs[0]} epochs against {epochs[1]}{where}: not comparable"
    recipes = [_recipe(study, *model) for model in at]
    for name, value in recipes[0].items():
        if value != recipes[1][name]:
            other = recipes[1][name]
            return f"trained with {name} {value} against {other}{where}: not comparable"
    return ""


def _other_start(study: Study, arm: str, reference: str, lmbda: str) -> str:
    """How the weights differ that the models start with.

    Both may start fresh, from one model, or each from its own arm's at one lambda, if these two
    were trained alike.
    """
    own, other = (study.recipe_at(name, lmbda).start for name in (arm, reference))
    trained = _trained_as(study, arm), _trained_as(study, reference)
    if isinstance(own, Start) and isinstance(other, Start):
        both = all(study.arms[name].text for name in trained)
        if _source(own) == _source(other) and not (both and own.adapter != other.adapter):
            return ""
        if own.lmbda and (own.arm, other.arm) == trained and own.lmbda == other.lmbda:
            return _unlike(study, *trained, own.lmbda)
    elif own == other:
        return ""
    starts = (warm_start(study, name, lmbda) or "fresh weights" for name in (arm, reference))
    return "starts at λ {} from {}, its baseline from {}: not comparable".format(lmbda, *starts)


def _source(start: Start) -> tuple[str | None, ...]:
    """What tells one model from another. Whether its adapter is kept tells nothing of an arm that
    has none."""
    return start.arm, start.lmbda, start.bundled, start.sha256


def _recipe(study: Study, arm: str, lmbda: str) -> dict[str, object]:
    """How an arm's model was trained, up to the epoch that it has."""
    recipe, epochs = study.recipe_at(arm, lmbda), _epochs(study, arm, lmbda)
    how = recipe.model_dump(exclude=APART)
    if recipe.schedule == "cosine":
        return how | {"schedule": f"cosine over {recipe.epochs} epochs"}
    return how | {"milestones": [epoch for epoch in recipe.milestones if epoch < epochs]}


def stand_ins(study: Study, *arms: str) -> str:
    """What these arms have in place of the real thing: no verdict may rest on it."""
    known = [name for name in dict.fromkeys(arms) if study.arms[name].stand_in]
    parts = [f"{name} has {study.arms[name].stand_in}" for name in known]
    return f"stand-in: {'; '.join(parts)}" if parts else ""


def _trained_as(study: Study, arm: str) -> str:
    """The arm whose training made its models; another one for what it was after some epoch."""
    of = study.arms[arm].of
    return of.arm if of else arm


def _epochs(study: Study, arm: str, lmbda: str) -> int:
    """Epochs behind an arm's model, after its start."""
    of = study.arms[arm].of
    return of.epoch if of else study.recipe_at(arm, lmbda).epochs
