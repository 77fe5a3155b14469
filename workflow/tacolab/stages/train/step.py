"""One step of training, or one validation: samples -> codec -> loss terms.

A step waits for no result of the GPU: its terms are read when a line of the log is due, or before
anything is saved (logbook.py), and then they must be finite.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from tacolab.stages.train import distributed, samples
from tacolab.stages.train.assemble import Run
from tacolab.stages.train.finite import finite
from tacolab.stages.train.losses import Losses
from tacolab.text.encoders import weigh

# What a step tells: the losses of its batch, the gradient's norm, and the quantiles' loss.
TERMS = (*Losses._fields, "gradient", "aux")


def step(run: Run, net: nn.Module, batch: samples.Batch, rate: float) -> Tensor:
    """One optimiser step with this rank's slice of the batch; TERMS of all of it, on the device.

    `net` is the state's model, averaging its gradients over the ranks.
    """
    state = run.state
    x = pixels(run, batch)
    noise = samples.StepNoise(run.seed, state.step, batch.indices)
    text, hidden = listen(run, batch)
    out = net(x, text, noise)
    losses = run.criterion(out, x, batch.captions, distributed.gather, hidden)
    terms = distributed.mean(torch.stack(losses))

    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.zero_grad()
    state.scaler.scale(losses.total).backward()
    state.scaler.unscale_(state.optimizer)
    norm = clip_grad_norm_(state.main_parameters(), run.recipe.clip_norm)
    state.scaler.step(state.optimizer)  # in fp16 not where the norm is not finite
    state.scaler.update()

    # After the main step: the quantiles follow the densities that it has just moved.
    state.aux_optimizer.zero_grad()
    aux = state.model.aux_loss()
    aux.backward()
    state.aux_optimizer.step()
    return torch.cat([terms, torch.stack([norm, aux.detach()])])


@torch.no_grad()
def validate(run: Run) -> dict[str, float]:
    """Mean loss and its terms over the held-out images, without noise."""
    model = run.state.model.eval()
    sums = torch.zeros(len(Losses._fields), dtype=torch.float64)
    for first in range(0, len(run.held_out), run.recipe.batch):
        part = samples.Batch.of(run.held_out[first : first + run.recipe.batch])
        x = pixels(run, part)
        text, hidden = listen(run, part)
        losses = run.criterion(model(x, text), x, part.captions, hidden=hidden)
        sums += len(x) * torch.stack(losses).to(sums)
    model.train()
    means = (sums / len(run.held_out)).tolist()
    return finite(run, run.state.step, dict(zip(Losses._fields, means, strict=True)))


def pixels(run: Run, batch: samples.Batch) -> Tensor:
    """uint8 images -> batch in [0, 1] on the device, channels last."""
    x = batch.images.to(run.device, non_blocking=True)
    return x.to(memory_format=torch.channels_last).float() / 255


def listen(run: Run, batch: samples.Batch) -> tuple[Tensor | None, Tensor | None]:
    """What the codec hears of the captions, B x tokens x width; and what L_joint can use of it."""
    if run.encoder is None:
        return None, None
    hidden, mask = run.encoder.read(batch.captions)
    weights = None if batch.weights is None else torch.from_numpy(batch.weights)
    text, _ = weigh(hidden, mask, weights, run.encoder.weighting)
    return text, hidden if run.one_tower else None
