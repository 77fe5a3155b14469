"""A weight file of others made a model like those trained here (arms with `checkpoints`)."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tacolab.codec import Elic
from tacolab.codec.fixed_point import OutOfRangeError
from tacolab.codec.weights import in_one_line, normalise
from tacolab.errors import UserError
from tacolab.files import atomic, torch_files
from tacolab.plan import Artefact, Options, Plan
from tacolab.readers import listed_files
from tacolab.readers.networks import build_codec
from tacolab.stages.train.export import describe

log = logging.getLogger(__name__)


def run(plan: Plan, artefact: Artefact, options: Options = Options()) -> None:
    """Write `model.safetensors` and `model.json`, as a training does.

    Raises UserError, and writes nothing, when the file is missing, not the pinned one, damaged,
    holds anything but plain data, or the weights of another network than the arm's.
    """
    study = plan.study
    ref = study.arms[artefact.names["arm"]].checkpoints[artefact.names["lmbda"]]
    path = study.data_root / ref.path
    content, sha256 = listed_files.read(ref, study.data_root)
    model = _load(read_state_dict(content, path), build_codec(study, artefact.names["arm"]), path)

    try:
        weights = model.exported()
    except OutOfRangeError as error:
        raise UserError(f"{path}: {error}; nothing can be coded with it") from None
    metadata = {"made_by": f"{artefact}, sha256 {sha256}"}
    atomic.write(artefact.path, lambda temporary: save_file(weights, temporary, metadata))
    pinned = {"path": str(ref.path), "sha256": sha256, "bytes": len(content)}
    describe(artefact, model, int(artefact.names["seed"]), {"weights": pinned})
    if ref.sha256 is None:
        log.warning(
            "%s is not pinned: add `sha256: %s` to the config before anything is coded (it is part "
            "of the key)",
            path,
            sha256,
        )


def read_state_dict(content: bytes, path: Path) -> Mapping[str, Tensor]:
    """The weights in a checkpoint as `torch.save` wrote it; nothing in it is ever executed.

    Takes a state dict alone, or under `state_dict` beside optimisers, schedulers and notes.
    Raises UserError where there is none.
    """
    checkpoint = torch_files.read(io.BytesIO(content), path)
    weights = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
    ):
        raise UserError(f"{path}: holds no state dict of a network; name the right file")
    for name, value in weights.items():
        # Numbers that stand for several: a few bytes would become any amount of memory.
        if value.is_sparse or value.nbytes > value.untyped_storage().nbytes():
            raise UserError(f"{path}: {name} is no plain tensor; name the right file")
    return weights


def _load(weights: Mapping[str, Tensor], arm: Elic, path: Path) -> Elic:
    """The network of the file, which must be of the arm's kind and size."""
    try:
        model = type(arm).from_state_dict(weights)
    except ValueError as error:
        raise UserError(
            f"{path}: {in_one_line(error)}; name the right file, or the codec's size"
        ) from None
    shapes = {name: value.shape for name, value in model.named_parameters()}
    for name, value in arm.named_parameters():
        if shapes.get(name) != value.shape:
            found = f"is {tuple(shapes[name])}" if name in shapes else "is not in it"
            raise UserError(
                f"{path}: holds another network: {name} {found}, must be {tuple(value.shape)} by "
                "the config (codec, the arm's text encoder and attention); change one of them"
            )
    for name, weight in normalise(weights).items():
        if not torch.isfinite(weight).all():
            raise UserError(f"{path}: {name} is not finite; fetch it again")
    return model
