"""What a person sees of a training: a live line on a terminal, plain lines in a log file."""

import logging
import time
from datetime import timedelta
from typing import Self

import torch
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch.utils.tensorboard.writer import SummaryWriter

from tacolab.stages.train import distributed
from tacolab.stages.train.setup import Run

log = logging.getLogger(__name__)


class Progress:
    """Step, epoch, loss terms, samples/s, ETA; the scalars also go to TensorBoard."""

    def __init__(self, run: Run, board: SummaryWriter) -> None:
        self.run, self.board = run, board
        self.first = run.state.step
        self.started = time.monotonic()
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("epoch {task.fields[epoch]} step {task.completed}/{task.total}"),
            TextColumn("{task.fields[terms]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not Console(stderr=True).is_terminal,
        )

    def __enter__(self) -> Self:
        run = self.run
        log.info(
            "%s: from step %d to %d (%d epochs of %d samples, batch %d), %d x %s, %d threads, %s",
            run.artefact, self.first, run.steps, run.recipe.epochs, len(run.crops),
            run.recipe.batch, distributed.world_size(), run.device, torch.get_num_threads(),
            run.folder,
        )  # fmt: skip
        self.bar.start()
        names = run.artefact.names
        self.task = self.bar.add_task(
            f"{names['arm']} {names['lmbda']}",
            total=run.steps,
            completed=self.first,
            epoch=0,
            terms="",
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def advance(self, step: int) -> None:
        self.bar.update(self.task, completed=step, epoch=self._epoch(step))

    def log(self, step: int, terms: dict[str, float], kind: str = "train") -> None:
        """Show means of the loss terms; `kind` is their group in TensorBoard."""
        for name, value in terms.items():
            self.board.add_scalar(f"{kind}/{name}", value, step)
        rate = (step - self.first) / (time.monotonic() - self.started)
        if kind == "train":
            self.board.add_scalar("train/samples_per_second", rate * self.run.recipe.batch, step)
        shown = " ".join(f"{name} {value:.4g}" for name, value in terms.items())
        shown = f"{kind}: {shown}, {rate * self.run.recipe.batch:.1f} samples/s"
        if self.bar.disable:
            left = timedelta(seconds=round((self.run.steps - step) / rate))
            epoch = self._epoch(step)
            log.info("step %d/%d epoch %d %s, %s left", step, self.run.steps, epoch, shown, left)
        else:
            self.bar.update(self.task, terms=shown)

    def _epoch(self, step: int) -> int:
        """The epoch that the last of `step` steps belonged to, counted from 0."""
        return (step - 1) // self.run.steps_per_epoch
