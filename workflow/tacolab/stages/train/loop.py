"""The training loop: resume, step, log, validate, save, stop."""

import logging
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.utils.tensorboard.writer import SummaryWriter

from tacolab.cluster.lease import Lease
from tacolab.codec.fixed_point import OutOfRangeError
from tacolab.config import Training
from tacolab.errors import StageError
from tacolab.files import atomic, disk
from tacolab.stages.train import checkpoint, distributed, samples
from tacolab.stages.train.history import History
from tacolab.stages.train.losses import Losses
from tacolab.stages.train.progress import Progress
from tacolab.stages.train.segments import Segments
from tacolab.stages.train.setup import Run
from tacolab.stages.train.stop import Reason, Stop
from tacolab.text.encoders import weigh

log = logging.getLogger(__name__)


def train(run: Run, stop: Stop, lease: Lease, segments: Segments) -> Reason | None:
    """Train on from the newest checkpoint; why it stopped (everything is saved), None at the end.

    Raises StageError on a non-finite loss or a full disk (the last good checkpoint stays), NotOurs
    when another process has taken the folder.
    """
    saved = distributed.first(checkpoint.latest(run.folder))
    if saved:
        run.state.restore(saved, run.artefact, run.folder)
    before = (saved["generation"], saved["history_bytes"]) if saved else None
    try:
        segments.start(lease.generation, run.state.step, run.steps)
        if run.state.step == run.steps:
            return None
        return _train(run, stop, lease, segments, History(run.folder, lease.generation, before))
    except OSError as error:
        if error.errno not in disk.FULL:
            raise
        raise StageError(_full(run, segments.saved, error.errno)) from None


def _train(
    run: Run, stop: Stop, lease: Lease, segments: Segments, history: History
) -> Reason | None:
    state, recipe = run.state, run.recipe
    board = SummaryWriter(str(run.folder / "tensorboard"), purge_step=state.step + 1)
    started = saved_at = time.monotonic()
    seconds_before = state.seconds

    def save() -> None:
        lease.check()
        begun = time.monotonic()
        state.seconds = seconds_before + begun - started
        state.save(run.folder, run.artefact, history, lease.generation)
        segments.saved = state.step
        stop.saved(time.monotonic() - begun)

    state.model.train()
    net = distributed.averaging(state.model)
    with board, Progress(run, board) as progress:
        for batch in run.batches():
            epoch = state.step // run.steps_per_epoch
            rate = learning_rate(recipe, epoch)
            terms = step(run, net, batch, rate)
            state.step += 1
            finished = state.step == run.steps

            for name, value in terms.items():
                state.sums[name] = state.sums.get(name, 0.0) + value
            state.summed += 1
            if state.step % run.execution.log_every == 0 or finished:
                means = {name: total / state.summed for name, total in state.sums.items()}
                state.sums, state.summed = {}, 0
                history.add(step=state.step, epoch=epoch, learning_rate=rate, **means)
                progress.log(state.step, means)
            progress.advance(state.step)

            if state.step % run.steps_per_epoch == 0:
                if (epoch + 1) % run.execution.validate_every == 0 or finished:
                    held_out = validate(run)
                    state.last = {"step": state.step, **held_out}
                    if state.last["loss"] < state.best.get("loss", math.inf):
                        state.best = state.last
                    history.add(epoch=epoch, validation=state.last)
                    progress.log(state.step, held_out, "validation")
                if epoch + 1 in recipe.export_epochs:
                    lease.check()
                    export(run, run.artefact.folder / f"epoch-{epoch + 1}.safetensors")

            if finished:
                save()
                history.publish()
            elif reason := distributed.first(stop.reason):
                save()
                return reason
            elif time.monotonic() - saved_at > run.execution.checkpoint_minutes * 60:
                save()
                saved_at = time.monotonic()
    return None


def follow(run: Run) -> None:
    """`train` on the ranks other than the first: the same steps, and nothing that can be seen."""
    state = run.state
    saved: dict[str, Any] | None = distributed.first()
    if saved:
        state.restore(saved, run.artefact, run.folder)
    state.model.train()
    net = distributed.averaging(state.model)
    for batch in run.batches():
        step(run, net, batch, learning_rate(run.recipe, state.step // run.steps_per_epoch))
        state.step += 1
        if state.step < run.steps:
            reason: Reason | None = distributed.first()
            if reason:
                return


def step(run: Run, net: nn.Module, batch: list[samples.Sample], rate: float) -> dict[str, float]:
    """One optimiser step with this rank's slice of the batch; the loss terms of all of it.

    `net` is the state's model, averaging its gradients over the ranks.
    """
    state = run.state
    x = pixels(run, batch)
    noise = samples.Noise(run.seed, state.step, [sample.index for sample in batch])
    captions = [sample.caption for sample in batch]
    text, hidden = listen(run, batch)
    out = net(x, text, noise)
    losses = run.criterion(out, x, captions, distributed.gather, hidden)
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
        part = run.held_out[first : first + run.recipe.batch]
        x = pixels(run, part)
        captions = [sample.caption for sample in part]
        text, hidden = listen(run, part)
        losses = run.criterion(model(x, text), x, captions, hidden=hidden)
        for name, value in finite(torch.stack(losses), run).items():
            sums[name] = sums.get(name, 0.0) + value * len(part)
    model.train()
    return {name: total / len(run.held_out) for name, total in sums.items()}


def export(run: Run, path: Path) -> None:
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


def learning_rate(recipe: Training, epoch: int) -> float:
    """x 0.1 from each milestone on; epochs count from 0."""
    return recipe.learning_rate * 0.1 ** sum(epoch >= m for m in recipe.milestones)


def pixels(run: Run, batch: list[samples.Sample]) -> Tensor:
    """uint8 images -> batch in [0, 1] on the device."""
    return torch.stack([sample.image for sample in batch]).to(run.device).float() / 255


def listen(run: Run, batch: list[samples.Sample]) -> tuple[Tensor | None, Tensor | None]:
    """What the codec hears of the captions, B x tokens x width; and what L_joint can use of it."""
    if run.encoder is None:
        return None, None
    hidden, mask = run.encoder.read([sample.caption for sample in batch])
    rows = [sample.weights for sample in batch if sample.weights is not None]
    weights = torch.from_numpy(np.stack(rows)) if rows else None
    text, _ = weigh(hidden, mask, weights, run.encoder.weighting)
    return text, hidden if run.one_tower else None


def finite(losses: Tensor, run: Run) -> dict[str, float]:
    """The stacked Losses as numbers (`loss` is the total). Raises StageError on inf or nan."""
    terms = dict(zip(Losses._fields, losses.tolist(), strict=True))  # one transfer from the GPU
    for name in ("bpp", "mse", "lpips", "joint", "total"):
        if not math.isfinite(terms[name]):
            raise _not_finite(run, name)
    return {"loss": terms.pop("total"), **terms}


def _full(run: Run, saved: int, number: int) -> str:
    """Message of a full disk; a checkpoint holds weights and two moments of each."""
    needed = 3 * sum(p.numel() * p.element_size() for p in run.state.model.parameters())
    needs = f"a checkpoint needs {needed / 2**20:.1f} MiB beside the two that are kept"
    return (
        f"{disk.full(run.folder, number, needs)}, and the same command goes on from step {saved}, "
        "whose checkpoint is intact"
    )


def _not_finite(run: Run, term: str) -> StageError:
    return StageError(
        f"{run.artefact}: {term} is not finite at step {run.state.step}; the last good checkpoint "
        f"in {run.folder} is intact. A lower learning_rate or clip_norm may help (a new key)"
    )
