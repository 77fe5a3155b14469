"""Where the losses of a training go: train.jsonl, TensorBoard, and a line for people."""

import logging
import math
import os
import time
from datetime import timedelta
from typing import Self

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard.writer import SummaryWriter

from tacolab.files import process
from tacolab.stages.train import distributed
from tacolab.stages.train.assemble import Run
from tacolab.stages.train.finite import finite, skipped
from tacolab.stages.train.loss_history import LossHistory
from tacolab.stages.train.step import TERMS

log = logging.getLogger(__name__)


class Logbook:
    """A live line on a terminal, plain lines in a log file: step, epoch, terms, samples/s, ETA."""

    def __init__(self, run: Run, history: LossHistory) -> None:
        self.run, self.history = run, history
        self.board = SummaryWriter(str(run.folder / "tensorboard"), purge_step=run.state.step + 1)
        self.first = run.state.step
        self._unread: list[tuple[int, Tensor]] = []  # number of a step, its TERMS on the device
        self.started = time.monotonic()
        self.bar = Progress(
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
            "%s: from step %d to %d (%d epochs of %d samples, batch %d), "
            "%d x %s in %s, %d threads, %s",
            run.artefact, self.first, run.steps, run.recipe.epochs, len(run.crops),
            run.recipe.batch, distributed.world_size(), run.device, run.recipe.precision,
            torch.get_num_threads(), run.folder,
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
        self.board.close()

    def step(self, epoch: int, rate: float, terms: Tensor) -> None:
        """Note the terms of a step; their means every `log_every` steps and at the end."""
        state = self.run.state
        if state.step == self.first + 1:
            self._say_how_long_it_took()
        self._unread.append((state.step - 1, terms))
        if state.step % self.run.execution.log_every == 0 or self.run.finished:
            self.read()
            means = {name: total / max(1, state.summed) for name, total in state.sums.items()}
            state.sums, state.summed = {}, 0
            self.history.add(step=state.step, epoch=epoch, learning_rate=rate, **means)
            self._show(state.step, means, "train")
        self.bar.update(self.task, completed=state.step, epoch=epoch)

    def _say_how_long_it_took(self) -> None:
        """From the start of the job to the end of its first step, in which a GPU waits."""
        since = [("process", process.age())]
        if begun := os.environ.get("SLURM_JOB_START_TIME"):
            since.insert(0, ("SLURM job", time.time() - float(begun)))
        told = [f"{seconds:.1f} s after the start of the {of}" for of, seconds in since if seconds]
        log.info("first step done %s", ", ".join(told))

    def read(self) -> None:
        """Wait for the steps so far, and look at what they told. Before anything is saved.

        Raises StageError where a term is not finite, naming it and the step.
        """
        state = self.run.state
        unread, self._unread = self._unread, []
        if not unread:
            return
        rows = torch.stack([terms for _, terms in unread]).tolist()  # one transfer from the GPU
        for (number, _), row in zip(unread, rows, strict=True):
            terms = dict(zip(TERMS, row, strict=True))
            if skipped(self.run, number, terms):
                state.sums["skipped"] = state.sums.get("skipped", 0.0) + 1
                continue
            found = finite(self.run, number, terms)
            del found["gradient"]
            for name, value in found.items():
                state.sums[name] = state.sums.get(name, 0.0) + value
            state.summed += 1

    def validation(self, epoch: int, terms: dict[str, float]) -> None:
        """Note the losses over the held-out images, and the best so far."""
        state = self.run.state
        state.last = {"step": state.step, **terms}
        if state.last["loss"] < state.best.get("loss", math.inf):
            state.best = state.last
        self.history.add(epoch=epoch, validation=state.last)
        self._show(state.step, terms, "validation")

    def _show(self, step: int, terms: dict[str, float], kind: str) -> None:
        """`kind`: the group of the terms in TensorBoard."""
        for name, value in terms.items():
            self.board.add_scalar(f"{kind}/{name}", value, step)
        rate = (step - self.first) / (time.monotonic() - self.started)
        if kind == "train":
            self.board.add_scalar("train/samples_per_second", rate * self.run.recipe.batch, step)
        shown = " ".join(f"{name} {value:.4g}" for name, value in terms.items())
        shown = f"{kind}: {shown}, {rate * self.run.recipe.batch:.1f} samples/s"
        if self.bar.disable:
            left = timedelta(seconds=round((self.run.steps - step) / rate))
            epoch = (step - 1) // self.run.steps_per_epoch  # that of the last step, from 0
            log.info("step %d/%d epoch %d %s, %s left", step, self.run.steps, epoch, shown, left)
        else:
            self.bar.update(self.task, terms=shown)
