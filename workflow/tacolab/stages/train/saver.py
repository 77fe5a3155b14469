"""When a training is saved, who is told of it, and what is said where the disk is full."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tacolab.cluster.lease import Lease
from tacolab.errors import StageError
from tacolab.files import disk
from tacolab.stages.train.assemble import Run
from tacolab.stages.train.loss_history import LossHistory
from tacolab.stages.train.segment_log import SegmentLog
from tacolab.stages.train.stop import StopRequests


class Saver:
    """Writes the checkpoints of one segment."""

    def __init__(
        self,
        run: Run,
        history: LossHistory,
        lease: Lease,
        segments: SegmentLog,
        stop: StopRequests,
    ) -> None:
        self._run, self._history = run, history
        self._lease, self._segments, self._stop = lease, segments, stop
        self._started = self._saved_at = time.monotonic()
        self._seconds_before = run.state.seconds

    @property
    def due(self) -> bool:
        """Whether `checkpoint_minutes` have passed since the last one, or since the start."""
        return time.monotonic() - self._saved_at > self._run.execution.checkpoint_minutes * 60

    def save(self) -> None:
        """Write a checkpoint of this instant. Raises NotOurs, OSError (the last two stay)."""
        run, state = self._run, self._run.state
        self._lease.check()
        begun = time.monotonic()
        state.seconds = self._seconds_before + begun - self._started
        state.save(run.folder, run.artefact, self._history, self._lease.generation)
        self._segments.saved = state.step
        self._saved_at = time.monotonic()
        self._stop.saved(self._saved_at - begun)


@contextmanager
def full_disk_explained(run: Run, segments: SegmentLog) -> Iterator[None]:
    """Raises StageError with what a checkpoint needs, where a disk or quota is full within."""
    try:
        yield
    except OSError as error:
        if error.errno not in disk.FULL:
            raise
        # Weights, and two moments of each.
        needed = 3 * sum(p.numel() * p.element_size() for p in run.state.model.parameters())
        needs = f"a checkpoint needs {needed / 2**20:.1f} MiB beside the two that are kept"
        raise StageError(
            f"{disk.full(run.folder, error.errno, needs)}, and the same command goes on from step "
            f"{segments.saved}, whose checkpoint is intact"
        ) from None
