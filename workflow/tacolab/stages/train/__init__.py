"""Stage `train`: one model per arm, lambda and seed; killable at any instant."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from tacolab.cluster import slurm
from tacolab.cluster.lease import Lease, NotOurs, acquire
from tacolab.errors import Interrupted, StageError
from tacolab.files import atomic, disk, intact
from tacolab.files.process import slurm_job
from tacolab.plan import Artefact, Options, Plan
from tacolab.plan.provenance import describe
from tacolab.stages.train.segments import Segments
from tacolab.stages.train.stop import Reason, Stop

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from tacolab.stages.train.setup import Run


def run(
    plan: Plan,
    artefact: Artefact,
    options: Options = Options(),
) -> None:
    """Train (or go on, or only export) and write `model.safetensors`, `model.json`, exports.

    Equality to the bit needs the same number of threads. Raises Interrupted when it was
    asked to stop, StageError on a full disk.
    """
    execution = plan.study.execution
    # It hears signals while libraries load, too.
    stop = Stop(options.stop_after, execution.margin_seconds)

    import torch

    from tacolab.cluster.device import pick_device
    from tacolab.stages.train import distributed
    from tacolab.stages.train.setup import set_up

    pick_device(execution.device)  # before it could ask a trainer that works to leave
    state = artefact.folder / "state"
    segments = Segments(state / "segments.jsonl")
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        state.mkdir(parents=True, exist_ok=True)
        keep_log(state / "train.log")
        if options.attempt > 1:  # a workflow starts this by itself after a failure
            segments.check_retry()
        lease = acquire(state, execution.lease_seconds, give_up=lambda: stop.reason)
        if lease is None:
            assert stop.reason is not None
            if stop.reason.cancelled:
                segments.end(stop.reason.text, cancelled=True)  # for a retry, which would revive it
            raise Interrupted(
                f"{stop.reason.text}: stopped while another process worked in {state}"
            )
        stop.lease = lease
        try:
            parts = set_up(plan, artefact, options.stage_to)
            with distributed.started(
                execution.gpus, parts.device, _follow, plan, artefact, options
            ):
                reason = _train(parts, stop, lease, segments)
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


def _train(parts: Run, stop: Stop, lease: Lease, segments: Segments) -> Reason | None:
    from tacolab.stages.train.loop import export, train
    from tacolab.text import counts as tokencounts

    artefact = parts.artefact
    tokens = None
    if parts.encoder:
        tokens = tokencounts.count(parts.crops.captions, parts.encoder.tokenizer)
        atomic.write_json(parts.folder / "text.json", tokens)
        log.info("%s", tokencounts.sentence(tokens))
    reason = train(parts, stop, lease, segments)
    if reason:
        reason = stop.reason or reason  # cancelled while it saved: it must not be queued again
        segments.end(reason.text, reason.cancelled)
        return reason

    for epoch in parts.recipe.export_epochs:
        kept = artefact.folder / f"epoch-{epoch}.safetensors"
        if not kept.exists():
            log.warning("%s is gone, and a finished state cannot make it again", kept)

    # Declared outputs come last: while one is missing, Snakemake starts the job again.
    model, description = artefact.files
    lease.check()
    export(parts, model)
    atomic.write_json(description, _description(parts, segments.count(), tokens))
    segments.end("finished")
    return None


def _follow(plan: Plan, artefact: Artefact, options: Options) -> None:
    """What the processes of the other GPUs do."""
    import torch

    from tacolab.stages.train.loop import follow
    from tacolab.stages.train.setup import set_up

    if options.threads:
        torch.set_num_threads(options.threads)
    follow(set_up(plan, artefact, options.stage_to))


def _leave(reason: Reason, segments: Segments) -> None:
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


def keep_log(path: Path) -> None:
    """Also append the log to `path`: a job's own log starts anew with every segment."""
    logging.raiseExceptions = False  # on a full disk every line would become a traceback
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)


def _description(parts: Run, segments: int, tokens: dict[str, float] | None) -> dict[str, object]:
    """model.json: what the model is and what made it."""
    from tacolab.stages.train.description import parameters

    artefact, state = parts.artefact, parts.state
    return describe(
        artefact,
        **artefact.names | {"seed": parts.seed},
        steps=state.step,
        epochs=parts.recipe.epochs,
        samples=len(parts.crops),
        tokens=tokens,
        seconds=round(state.seconds, 1),
        gpus=parts.execution.gpus,
        segments=segments,
        validation={"best": state.best, "last": state.last, "images": len(parts.held_out)},
        codec=parameters(state.model),
        sha256=intact.sha256(artefact.path),
    )
