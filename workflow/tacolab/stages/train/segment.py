"""One segment of a training: take the folder, train, export, leave; SLURM may start the next."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tacolab.cluster import slurm
from tacolab.cluster.lease import Lease, NotOurs, acquire
from tacolab.errors import Interrupted, StageError
from tacolab.files import atomic, disk
from tacolab.files.process import slurm_job
from tacolab.plan import Artefact, Options, Plan
from tacolab.stages.train.segment_log import SegmentLog
from tacolab.stages.train.stop import StopReason, StopRequests

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from tacolab.stages.train.assemble import Run


def run_segment(plan: Plan, artefact: Artefact, options: Options) -> None:
    """As `tacolab.stages.train.run`."""
    execution = plan.study.execution
    # First of all: it hears signals while libraries load, too.
    stop = StopRequests(options.stop_after, execution.margin_seconds)

    # Loaded, and the device known to be there, before a trainer that works is asked to leave.
    from tacolab.cluster.device import pick_device
    from tacolab.stages.train import distributed
    from tacolab.stages.train.assemble import assemble

    pick_device(execution.device)
    state = artefact.folder / "state"
    segments = SegmentLog(state / "segments.jsonl")
    try:
        state.mkdir(parents=True, exist_ok=True)
        _keep_log(state / "train.log")
        if options.attempt > 1:  # the workflow starts this by itself after a failure
            segments.check_retry()
        lease = _take(state, execution.lease_seconds, stop, segments)
        try:
            run = assemble(plan, artefact, options)
            with distributed.started(execution.gpus, run.device, _follow, plan, artefact, options):
                reason = _train(run, stop, lease, segments)
        except NotOurs:
            raise
        except Exception as error:
            lease.check()  # a successor may have tidied up what this one was writing
            segments.end(str(error), failed=True)
            raise
        finally:
            lease.release()
    except NotOurs as error:
        if slurm_job() is None:
            raise StageError(f"{error}. End that one first, or wait for it") from None
        # The end of a job that is no longer needed; its successor does the work.
        log.warning("%s; nothing is left to do here", error)
        return
    except OSError as error:
        if refused := disk.explained(error, state):
            raise refused from None
        raise
    if reason:
        _leave(reason, segments)


def _take(state: Path, seconds: float, stop: StopRequests, segments: SegmentLog) -> Lease:
    """The folder, once its holder has left. Raises NotOurs, and Interrupted when told to stop."""
    lease = acquire(state, seconds, give_up=lambda: stop.reason)
    if lease is None:
        assert stop.reason is not None
        if stop.reason.cancelled:
            segments.end(stop.reason.text, cancelled=True)  # for a retry, which would revive it
        raise Interrupted(f"{stop.reason.text}: stopped while another process worked in {state}")
    stop.lease = lease
    return lease


def _train(run: Run, stop: StopRequests, lease: Lease, segments: SegmentLog) -> StopReason | None:
    """On to the exported model; or why it stopped before, with everything saved."""
    from tacolab.stages.train.export import describe_training, export_weights
    from tacolab.stages.train.loop import train
    from tacolab.text import counts as tokencounts

    artefact = run.artefact
    tokens = None
    if run.encoder:
        tokens = tokencounts.count(run.crops.captions, run.encoder.tokenizer)
        atomic.write_json(run.folder / "text.json", tokens)
        log.info("%s", tokencounts.sentence(tokens))
    reason = train(run, stop, lease, segments)
    if reason:
        reason = stop.reason or reason  # cancelled while it saved: it must not be queued again
        segments.end(reason.text, reason.cancelled)
        return reason

    for epoch in run.recipe.export_epochs:
        kept = artefact.folder / f"epoch-{epoch}.safetensors"
        if not kept.exists():
            log.warning("%s is gone, and a finished state cannot make it again", kept)

    # Declared outputs come last: while one is missing, Snakemake starts the job again.
    lease.check()
    export_weights(run, artefact.path)
    describe_training(run, segments, tokens)
    segments.end("finished")
    return None


def _follow(plan: Plan, artefact: Artefact, options: Options) -> None:
    """What the processes of the other GPUs do."""
    from tacolab.stages.train.assemble import assemble
    from tacolab.stages.train.loop import follow

    follow(assemble(plan, artefact, options))


def _leave(reason: StopReason, segments: SegmentLog) -> None:
    """End a segment before its training ends: raises Interrupted, or StageError if it was vain."""
    where = f"step {segments.saved} of {segments.steps} in {segments.path.parent}"
    saved = f"{reason.text}: saved at {where}"
    job = slurm_job()
    if not reason.again or job is None:
        raise Interrupted(f"{saved}; the same command goes on from there")
    if segments.gained == 0:
        raise StageError(
            f"{saved}, no step further than before. It is not queued again, since it might do so "
            "for ever: give the job a longer time limit, or the warning less time before it"
        )
    try:
        slurm.requeue(job)
    except StageError as error:
        raise Interrupted(f"{saved}; {error}") from None
    raise Interrupted(f"{saved}; job {job} is queued again and goes on from there")


def _keep_log(path: Path) -> None:
    """Also append the log to `path`: a job's own log starts anew with every segment."""
    logging.raiseExceptions = False  # on a full disk every line would become a traceback
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)
