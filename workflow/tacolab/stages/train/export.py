"""model.safetensors and model.json: a model's weights for coding, and what it is and made it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save as to_bytes

from tacolab.codec import Elic
from tacolab.codec.adapter import Extractor, Injector
from tacolab.codec.fixed_point import OutOfRangeError
from tacolab.errors import StageError
from tacolab.files import atomic, intact
from tacolab.plan import Artefact, provenance

if TYPE_CHECKING:
    from tacolab.stages.train.assemble import Run
    from tacolab.stages.train.segment_log import SegmentLog


def export_weights(run: Run, path: Path) -> None:
    """Write the weights of this instant for coding.

    Raises StageError where nothing can be coded with them.
    """
    try:
        weights = run.state.model.exported()
    except OutOfRangeError as error:
        raise StageError(f"{path}: {error}; the recipe lets them grow: train otherwise") from None
    # One entry only: safetensors writes several in an order that changes from run to run.
    metadata = {"made_by": f"{run.artefact}, step {run.state.step}"}
    atomic.write_bytes(path, to_bytes(weights, metadata))


def describe_training(run: Run, segments: SegmentLog, tokens: dict[str, float] | None) -> None:
    """Write model.json of a trained model. tokens: how much of the captions the encoder reads."""
    state = run.state
    how = {
        "start": run.start,
        "steps": state.step,
        "epochs": run.recipe.epochs,
        "samples": len(run.crops),
        "tokens": tokens,
        "seconds": round(state.seconds, 1),
        "gpus": run.execution.gpus,
        "segments": segments.count(),
        "codes": segments.codes(),
        "validation": {"best": state.best, "last": state.last, "images": len(run.held_out)},
    }
    describe(run.artefact, state.model, run.seed, how)


def describe(artefact: Artefact, model: Elic, seed: int, how: Mapping[str, Any]) -> None:
    """Write model.json beside the weights, which are there. how: what came to this model."""
    weights, description = artefact.files
    content = provenance.describe(
        artefact,
        **artefact.names | {"seed": seed},
        **how,
        codec=_parameters(model),
        sha256=intact.sha256(weights),
    )
    atomic.write_json(description, content)


def _parameters(model: Elic) -> dict[str, int]:
    """Parameters of the codec, and those of its text adapter among them."""
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "adapter_parameters": sum(
            parameter.numel()
            for module in model.modules()
            if isinstance(module, Injector | Extractor)
            for parameter in module.parameters()
        ),
    }
