"""What must hold for an arm whose models start from the weights of another model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tacolab.config.fields import nearest, wrong
from tacolab.config.models import Start, Training

if TYPE_CHECKING:
    from tacolab.config.study import Study


def check_start(study: Study, name: str, path: str) -> None:
    """Raises the first contradiction in the arm's `start`, which is written at `path`."""
    recipe = study.recipe(name)
    start = recipe.start
    # Of an exported epoch, the other arm's start is looked at itself.
    if study.arms[name].of or not isinstance(start, Start):
        return
    _milestones(path, start, recipe)
    if start.lmbda is None:
        return
    _model_exists(study, path, name, start)
    if start.adapter == "kept":  # all arms share the rest
        _same_sizes(study, path, name, start.arm or name)
    _no_later_phase(study, path, name, start.lmbda)
    _no_circle(study, path, name)


def _milestones(path: str, start: Start, recipe: Training) -> None:
    """Whoever shortens a training must say when its learning rate drops, if it ever did."""
    if start.epochs is None or start.milestones is not None or recipe.schedule == "cosine":
        return
    dropped = any(milestone < recipe.epochs for milestone in recipe.milestones)
    if dropped and min(recipe.milestones) >= start.epochs:
        raise wrong(
            f"{path}.milestones",
            f"is missing: {start.epochs} epochs reach none of {list(recipe.milestones)}, so the "
            "learning rate would never drop; say when ([]: never)",
        )


def _model_exists(study: Study, path: str, name: str, start: Start) -> None:
    giver = start.arm or name
    fresh = f"(`start: fresh` in arms.{name}.training lets the arm start without)"
    if giver not in study.arms:
        raise wrong(f"{path}.arm", f"unknown arm '{giver}'{nearest(giver, study.arms)}")
    if of := study.arms[giver].of:
        raise wrong(
            f"{path}.arm",
            f"'{giver}' is an epoch of arm '{of.arm}', which has no model file of its own; name "
            f"'{of.arm}', or the exported file {fresh}",
        )
    if start.lmbda not in (known := study.lambdas_of(giver)):
        raise wrong(
            f"{path}.lmbda",
            f"arm '{giver}' has no model at '{start.lmbda}'; it has {', '.join(known)} {fresh}",
        )


def _same_sizes(study: Study, path: str, name: str, giver: str) -> None:
    """Of the networks, before weeks are spent on the one that others cannot start from."""
    own, other = sizes(study, name), sizes(study, giver)
    for what in own:
        if own[what] != other[what]:
            raise wrong(
                f"{path}.arm",
                f"the weights of arm '{giver}' do not fit arm '{name}': {what} is {other[what]} "
                f"there and {own[what]} here; name another arm, or `start: fresh` in "
                f"arms.{name}.training",
            )


def sizes(study: Study, name: str) -> dict[str, Any]:
    """What the shapes of an arm's weights depend on, besides `codec`, which all arms share."""
    how = study.arms[name]
    found: dict[str, Any] = {"text adapter": "none", "text width": "-", "linear attention": "none"}
    if how.text is None:
        return found
    encoder = study.encoders[how.text]
    found |= {"text adapter": "one", "text width": encoder.width}
    if how.attention.kind == "linformer":
        tokens = 1 if how.token_weighting == "pooled" else encoder.positions
        shared = ", shared" if how.attention.shared else ""
        found["linear attention"] = f"{how.attention.rank} of {tokens} tokens{shared}"
    return found


def _no_later_phase(study: Study, path: str, name: str, lmbda: str) -> None:
    phase = study.phase_of(lmbda, study.seed)
    for other in study.lambdas_of(name):
        if (first := study.phase_of(other, study.seed)) < phase:
            raise wrong(
                f"{path}.lmbda",
                f"'{lmbda}' is trained in phase {phase}, and '{other}' of phase {first} starts "
                "from it; change `phases`",
            )


def _no_circle(study: Study, path: str, name: str) -> None:
    """No model may need itself, over any number of others."""
    for lmbda in study.lambdas_of(name):
        at, seen = (name, lmbda), []
        while at not in seen:
            seen.append(at)
            start = study.recipe_at(*at).start if not study.arms[at[0]].checkpoints else "fresh"
            if not isinstance(start, Start) or not (start.arm and start.lmbda):
                break
            at = (start.arm, start.lmbda)
            if at[0] not in study.arms:  # an error of the arm before it
                break
        else:
            circle = [*seen[seen.index(at) :], at]
            chain = " from ".join(f"{arm} at '{lmbda}'" for arm, lmbda in circle)
            raise wrong(path, f"goes in a circle: {chain}; let one of them start fresh")
