"""The training loop: resume, step, stop.

What it calls stands beside it: step.py (a step, a validation), logbook.py (where losses go),
saver.py (checkpoints), export.py (weights for coding).
"""

import math
from contextlib import closing

from tacolab.cluster.lease import Lease
from tacolab.config import Training
from tacolab.stages.train import checkpoint, distributed
from tacolab.stages.train.assemble import Run
from tacolab.stages.train.export import export_weights
from tacolab.stages.train.logbook import Logbook
from tacolab.stages.train.loss_history import LossHistory
from tacolab.stages.train.saver import Saver, full_disk_explained
from tacolab.stages.train.segment_log import SegmentLog
from tacolab.stages.train.step import step, validate
from tacolab.stages.train.stop import StopReason, StopRequests

LAST = 0.01  # of the learning rate, at the end of a cosine


def train(run: Run, stop: StopRequests, lease: Lease, segments: SegmentLog) -> StopReason | None:
    """Train on from the newest checkpoint; why it stopped (everything is saved), None at the end.

    Raises StageError on a non-finite loss or a full disk (the last good checkpoint stays), NotOurs
    when another process has taken the folder.
    """
    known = resume(run)
    state, recipe = run.state, run.recipe
    with full_disk_explained(run, segments):
        segments.start(lease.generation, state.step, run.steps)
        if state.step == run.steps:
            return None
        history = LossHistory(run.folder, lease.generation, known)
        saver = Saver(run, history, lease, segments, stop)
        net = distributed.averaging(state.model.train())
        with Logbook(run, history) as logbook, closing(run.batches()) as batches:
            for batch in batches:
                epoch = state.step // run.steps_per_epoch
                rate = learning_rate(recipe, epoch)
                terms = step(run, net, batch, rate)
                state.step += 1
                logbook.step(epoch, rate, terms)

                if state.step % run.steps_per_epoch == 0:
                    logbook.read()
                    if (epoch + 1) % run.execution.validate_every == 0 or run.finished:
                        logbook.validation(epoch, validate(run))
                    if epoch + 1 in recipe.export_epochs:
                        lease.check()
                        export_weights(run, run.artefact.folder / f"epoch-{epoch + 1}.safetensors")

                reason = None if run.finished else distributed.first(stop.reason)
                if run.finished or reason or saver.due:
                    logbook.read()
                    saver.save()
                if reason:
                    return reason
            history.publish()
    return None


def follow(run: Run) -> None:
    """`train` on the ranks other than the first: the same steps, and nothing that can be seen."""
    resume(run)
    if run.finished:
        return
    state = run.state
    net = distributed.averaging(state.model.train())
    with closing(run.batches()) as batches:
        for batch in batches:
            step(run, net, batch, learning_rate(run.recipe, state.step // run.steps_per_epoch))
            state.step += 1
            reason: StopReason | None = None if run.finished else distributed.first()
            if reason:
                return


def resume(run: Run) -> tuple[int, int] | None:
    """Bring the state to where rank 0 finds the newest checkpoint.

    What that knows of train.jsonl: its generation and length in bytes. None without a checkpoint.
    """
    newest = checkpoint.latest(run.folder) if distributed.rank() == 0 else None
    saved = distributed.first(newest)
    if saved is None:
        return None
    run.state.restore(saved, run.artefact, run.folder)
    return saved["generation"], saved["history_bytes"]


def learning_rate(recipe: Training, epoch: int) -> float:
    """x 0.1 from each milestone on, or a cosine down to LAST; epochs count from 0."""
    if recipe.schedule == "cosine":
        fallen = (1 - math.cos(math.pi * epoch / recipe.epochs)) / 2
        return recipe.learning_rate * (1 - (1 - LAST) * fallen)
    return recipe.learning_rate * 0.1 ** sum(epoch >= m for m in recipe.milestones)
