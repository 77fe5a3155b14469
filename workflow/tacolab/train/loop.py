"""The training loop: resume, step, log, validate, save, stop."""

import logging
import math
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.utils.tensorboard.writer import SummaryWriter

from tacolab import atomic
from tacolab.config import Training
from tacolab.errors import Interrupted, StageError
from tacolab.train import checkpoint, samples
from tacolab.train.history import History
from tacolab.train.losses import Losses
from tacolab.train.progress import Progress
from tacolab.train.setup import Run
from tacolab.train.stop import Stop

log = logging.getLogger(__name__)


def train(run: Run, stop: Stop) -> None:
    """Train to the end, from the newest checkpoint of the state folder if there is one.

    Raises Interrupted when asked to stop (everything is saved), StageError on a non-finite loss
    (the last good checkpoint stays).
    """
    state, recipe = run.state, run.recipe
    run.folder.mkdir(parents=True, exist_ok=True)
    saved = checkpoint.latest(run.folder)
    if saved:
        state.restore(saved, run.artefact, run.folder)
    history = History(run.folder / "train.jsonl", saved["history_bytes"] if saved else 0)
    if state.step == run.steps:
        return
    board = SummaryWriter(str(run.folder / "tensorboard"), purge_step=state.step + 1)
    started = saved_at = time.monotonic()
    seconds_before = state.seconds

    def save() -> None:
        state.seconds = seconds_before + time.monotonic() - started
        state.save(run.folder, run.artefact, history)

    state.model.train()
    with board, Progress(run, board) as progress:
        for batch in run.batches():
            epoch = state.step // run.steps_per_epoch
            rate = learning_rate(recipe, epoch)
            terms = step(run, batch, rate)
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
                    state.last = {"step": state.step, **validate(run)}
                    if state.last["loss"] < state.best.get("loss", math.inf):
                        state.best = state.last
                    history.add(epoch=epoch, validation=state.last)
                    progress.log(state.step, state.last, "validation")
                if epoch + 1 in recipe.export_epochs:
                    export(run, run.artefact.folder / f"epoch-{epoch + 1}.safetensors")

            if finished:
                save()
            elif stop.reason:
                save()
                raise Interrupted(
                    f"{stop.reason}: saved at step {state.step} of {run.steps} in {run.folder}; "
                    "the same command goes on from there"
                )
            elif time.monotonic() - saved_at > run.execution.checkpoint_minutes * 60:
                save()
                saved_at = time.monotonic()


def step(run: Run, batch: list[samples.Sample], rate: float) -> dict[str, float]:
    """One optimiser step; the loss terms."""
    state = run.state
    x = pixels(run, [sample.image for sample in batch])
    captions = [sample.caption for sample in batch]
    noise = samples.Noise(run.seed, state.step, [sample.index for sample in batch])
    losses = run.criterion(state.model(x, hidden(run, captions), noise), x, captions)
    terms = finite(losses, run)

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
        x = pixels(run, [image for image, _ in part])
        captions = [caption for _, caption in part]
        losses = run.criterion(model(x, hidden(run, captions)), x, captions)
        for name, value in finite(losses, run).items():
            sums[name] = sums.get(name, 0.0) + value * len(part)
    model.train()
    return {name: total / len(run.held_out) for name, total in sums.items()}


def export(run: Run, path: Path) -> None:
    """Write the weights of this instant for coding."""
    weights = {k: v.contiguous() for k, v in run.state.model.state_dict().items()}
    # One entry only: safetensors writes several in an order that changes from run to run.
    metadata = {"made_by": f"{run.artefact}, step {run.state.step}"}
    atomic.write(path, lambda temporary: save_file(weights, temporary, metadata))


def learning_rate(recipe: Training, epoch: int) -> float:
    """x 0.1 from each milestone on; epochs count from 0."""
    return recipe.learning_rate * 0.1 ** sum(epoch >= m for m in recipe.milestones)


def pixels(run: Run, images: list[Tensor]) -> Tensor:
    """uint8 images -> batch in [0, 1] on the device."""
    return torch.stack(images).to(run.device).float() / 255


def hidden(run: Run, captions: list[str]) -> Tensor | None:
    """What the text encoder says of the captions: B x tokens x width."""
    return run.encoder(captions)[0] if run.encoder else None


def finite(losses: Losses, run: Run) -> dict[str, float]:
    """The terms as numbers (`loss` is the total). Raises StageError on inf or nan."""
    values = torch.stack(losses).detach().tolist()  # one transfer from the GPU
    terms = dict(zip(losses._fields, values, strict=True))
    for name in ("bpp", "mse", "lpips", "joint", "total"):
        if not math.isfinite(terms[name]):
            raise _not_finite(run, name)
    return {"loss": terms.pop("total"), **terms}


def _not_finite(run: Run, term: str) -> StageError:
    return StageError(
        f"{run.artefact}: {term} is not finite at step {run.state.step}; the last good checkpoint "
        f"in {run.folder} is intact. A lower learning_rate or clip_norm may help (a new key)"
    )
