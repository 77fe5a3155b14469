"""The weights that a training starts with where it does not draw them: those of another model."""

from __future__ import annotations

from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from tacolab.codec import Elic, Taco, bundled
from tacolab.codec.weights import check_fit, in_one_line, normalise
from tacolab.config import Start, Study
from tacolab.errors import UserError
from tacolab.files import intact
from tacolab.plan import Artefact
from tacolab.readers import listed_files


def fill(model: Elic, study: Study, artefact: Artefact) -> dict[str, Any] | None:
    """Put these weights, quantiles and buffers included, into the fresh network of a training.

    What model.json tells of them; None, and nothing is done, where the training starts fresh.
    Raises UserError where the file is missing, damaged, not the pinned one or of another network.
    """
    start = study.recipe_at(artefact.names["arm"], artefact.names["lmbda"]).start
    if not isinstance(start, Start):
        return None
    if start.bundled:
        path = bundled.path(start.bundled)
        content, sha256 = path.read_bytes(), bundled.sha256(start.bundled)
        told: dict[str, str] = {"bundled": start.bundled}
    elif start.ref:
        path = study.data_root / start.ref.path
        content, sha256 = listed_files.read(start.ref, study.data_root)
        told = {"file": str(start.ref.path)}
    else:
        giver = artefact.inputs["start"]
        path = giver.path
        intact.check(path, giver.description, "remove it and make it again with `snakemake`")
        content, sha256 = path.read_bytes(), intact.sha256(path)[path.name]
        told = giver.names | {"key": giver.key}
    if start.adapter == "fresh":
        told["adapter"] = "fresh"
    try:
        weights = normalise(load(content))  # coding tables are made at the export
        if start.adapter == "fresh" and isinstance(model, Taco):
            weights = model.without_adapter(weights) | model.adapter()
        _load(model, weights, artefact.names["arm"])
    except SafetensorError as error:
        raise UserError(
            f"{path}: no model file ({error}); name a model.safetensors. A file of torch.save is "
            "imported by an arm with `checkpoints`, and that arm can be a start"
        ) from None
    except ValueError as error:
        raise UserError(
            f"{path}: {in_one_line(error)}; name the right file, or another start"
        ) from None
    return {**told, "sha256": sha256}


def _load(model: Elic, weights: dict[str, Tensor], arm: str) -> None:
    """Raises ValueError, and changes nothing, where they do not fit or are not finite."""
    check_fit(weights, model.state_dict(), f"the network of arm '{arm}'")
    for name, weight in weights.items():
        if not torch.isfinite(weight).all():
            raise ValueError(f"{name} is not finite")
    model.load_state_dict(weights)
