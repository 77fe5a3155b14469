"""Builds one training from the plan: data, codec, text encoder, loss, optimisers."""

import logging
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from tacolab.cluster.device import advice, pick_device
from tacolab.codec.precision import native, train_in
from tacolab.config import Execution, Training
from tacolab.errors import UserError
from tacolab.plan import Artefact, Options, Plan
from tacolab.readers.caption_table import CaptionTable
from tacolab.readers.networks import build_codec, build_text
from tacolab.readers.packed import Packed
from tacolab.readers.pictures import centre_crop
from tacolab.readers.token_weight_table import WeightTable
from tacolab.stages.train import distributed, samples, warm_start
from tacolab.stages.train.losses import RateDistortion, one_tower
from tacolab.stages.train.staging import staged
from tacolab.stages.train.stop import ignore_in_worker
from tacolab.stages.train.train_state import TrainState
from tacolab.text.encoders import FrozenText

log = logging.getLogger(__name__)

# Batches that each loading process makes ahead: they wait while the trainer validates or saves, and
# a slow read from a shared file system then stops no step.
PREFETCH = 4


@dataclass(frozen=True)
class Run:
    """The fixed parts of a training run; what changes is in `state`."""

    artefact: Artefact
    recipe: Training
    execution: Execution
    seed: int
    device: torch.device
    folder: Path  # state/: checkpoints, train.jsonl, TensorBoard
    crops: samples.Crops
    held_out: list[samples.Sample]  # validation: centre crops, each image's first caption
    encoder: FrozenText | None
    one_tower: bool  # it is also that of L_joint
    criterion: RateDistortion
    start: dict[str, Any] | None  # of a warm start: whose weights the first step found
    state: TrainState

    @property
    def steps_per_epoch(self) -> int:
        return len(self.crops) // self.recipe.batch

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self.recipe.epochs * self.steps_per_epoch

    @property
    def finished(self) -> bool:
        return self.state.step == self.steps

    def batches(self) -> Generator[samples.Batch, None, None]:
        """This rank's slices of the batches from the state's step to the end, whatever the epoch:
        loading processes live as long as the training.

        To be closed: they end with the loader's iterator, and as they ignore signals, Python
        would wait for them for ever where the traceback of an error still holds it.
        """
        workers = self.execution.workers
        batches = samples.batches(
            self.seed, len(self.crops), self.recipe.batch, self.state.step, self.steps
        )
        loader = DataLoader(
            self.crops,
            batch_sampler=samples.slices(batches, distributed.rank(), distributed.world_size()),
            collate_fn=samples.Batch.of,
            num_workers=workers,
            prefetch_factor=PREFETCH if workers else None,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=ignore_in_worker,
            generator=torch.Generator(),  # the loader draws a number: not from the global stream
        )
        failed: Exception | None = None
        try:
            yield from loader
        except Exception as error:
            failed = error.with_traceback(None)
            failed.__cause__ = failed.__context__ = None  # they hold frames, too
        if failed:
            raise failed


def assemble(plan: Plan, artefact: Artefact, options: Options = Options()) -> Run:
    """Open the data and build networks with their initial weights (no checkpoint read yet).

    These are the same at every segment, whether drawn or those of another model.
    """
    study = plan.study
    arm, seed = artefact.names["arm"], int(artefact.names["seed"])
    recipe = study.recipe_at(arm, artefact.names["lmbda"])
    device = pick_device(study.execution.device, options.threads)

    if device.type == "cuda" and recipe.precision != native(device):
        card, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
        log.info("training.precision is %s on a %s: %s", recipe.precision, card, advice(capability))

    folder = artefact.inputs["data"].folder
    images = Packed(staged(folder, options.stage_to) if options.stage_to else folder)
    captions = CaptionTable(artefact.inputs["captions"].path)
    weights = (
        WeightTable(artefact.inputs["token_weights"].path)
        if "token_weights" in artefact.inputs
        else None
    )
    used, held_out = samples.hold_out(len(images), recipe.validation_images)
    crops = samples.Crops(images, captions, used, recipe.crop, seed, weights)
    if len(crops) < recipe.batch:
        raise UserError(
            f"training.batch = {recipe.batch} is more than the {len(crops)} samples to train on"
        )

    held_out = [i for i in held_out if images.ids[i] in captions]
    if not held_out:
        raise UserError(
            f"{captions.path}: none of the images held out for validation has a caption"
        )

    encoder = build_text(study, arm)
    criterion = RateDistortion(recipe, float(artefact.names["lmbda"]))
    torch.manual_seed(seed)
    model = build_codec(study, arm)
    start = warm_start.fill(model, study, artefact)
    model = model.to(device).to(memory_format=torch.channels_last)
    train_in(model, recipe.precision)
    return Run(
        artefact=artefact,
        recipe=recipe,
        execution=study.execution,
        seed=seed,
        device=device,
        folder=artefact.folder / "state",
        crops=crops,
        held_out=[
            samples.Sample(
                number,
                samples.planes(centre_crop(images.rgb(i), recipe.crop)),
                captions.for_image(images.ids[i])[0],
                weights.for_image(images.ids[i])[0] if weights else None,
            )
            for number, i in enumerate(held_out)
        ],
        encoder=encoder.to(device) if encoder else None,
        one_tower=encoder is not None and one_tower(recipe, encoder.tokenizer.config),
        criterion=criterion.to(device),
        start=start,
        state=TrainState.fresh(model, recipe, device),
    )
