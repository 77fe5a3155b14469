"""One step of training, or one validation: samples -> codec -> loss terms."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from tacolab.errors import StageError
from tacolab.stages.train import distributed, samples
from tacolab.stages.train.assemble import Run
from tacolab.stages.train.losses import Losses
from tacolab.text.encoders import weigh


def step(run: Run, net: nn.Module, batch: samples.Batch, rate: float) -> dict[str, float]:
    """One optimiser step with this rank's slice of the batch; the loss terms of all of it.

    `net` is the state's model, averaging its gradients over the ranks.
    """
    state = run.state
    x = pixels(run, batch)
    noise = samples.StepNoise(run.seed, state.step, batch.indices)
    text, hidden = listen(run, batch)
    out = net(x, text, noise)
    losses = run.criterion(out, x, batch.captions, distributed.gather, hidden)
    terms = finite(distributed.mean(torch.stack(losses)), run)

    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.zero_grad()
    losses.total.backward()
    norm = clip_grad_norm_(state.main_parameters(), run.recipe.clip_norm)
    if not torch.isfinite(norm):
        raise _not_finite(run, "gradient")
    state.optimizer.step()

    # After the main step: the quantiles follow the densities that it has just moved.
    state.aux_optimizer.zero_grad()
    aux = state.model.aux_loss()
    aux.backward()
    state.aux_optimizer.step()
    return terms | {"aux": aux.item()}


@torch.no_grad()
def validate(run: Run) -> dict[str, float]:
    """Mean loss and its terms over the held-out images, without noise."""
    model = run.state.model.eval()
    sums: dict[str, float] = {}
    for first in range(0, len(run.held_out), run.recipe.batch):
        part = samples.Batch.of(run.held_out[first : first + run.recipe.batch])
        x = pixels(run, part)
        text, hidden = listen(run, part)
        losses = run.criterion(model(x, text), x, part.captions, hidden=hidden)
        for name, value in finite(torch.stack(losses), run).items():
            sums[name] = sums.get(name, 0.0) + value * len(x)
    model.train()
    return {name: total / len(run.held_out) for name, total in sums.items()}


def pixels(run: Run, batch: samples.Batch) -> Tensor:
    """uint8 images -> batch in [0, 1] on the device."""
    return batch.images.to(run.device, non_blocking=True).float() / 255


def listen(run: Run, batch: samples.Batch) -> tuple[Tensor | None, Tensor | None]:
    """What the codec hears of the captions, B x tokens x width; and what L_joint can use of it."""
    if run.encoder is None:
        return None, None
    hidden, mask = run.encoder.read(batch.captions)
    weights = None if batch.weights is None else torch.from_numpy(batch.weights)
    text, _ = weigh(hidden, mask, weights, run.encoder.weighting)
    return text, hidden if run.one_tower else None


def finite(losses: Tensor, run: Run) -> dict[str, float]:
    """The stacked Losses as numbers (`loss` is the total). Raises StageError on inf or nan."""
    terms = dict(zip(Losses._fields, losses.tolist(), strict=True))  # one transfer from the GPU
    for name in ("bpp", "mse", "lpips", "joint", "total"):
        if not math.isfinite(terms[name]):
            raise _not_finite(run, name)
    return {"loss": terms.pop("total"), **terms}


def _not_finite(run: Run, term: str) -> StageError:
    return StageError(
        f"{run.artefact}: {term} is not finite at step {run.state.step}; the last good checkpoint "
        f"in {run.folder} is intact. A lower learning_rate or clip_norm may help (a new key)"
    )
