"""Stage `train`: one model per arm, lambda and seed; killable at any instant."""

from __future__ import annotations

import fcntl
import itertools
import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tacolab import atomic
from tacolab.errors import StageError
from tacolab.keys import Artefact, Plan
from tacolab.provenance import provenance

log = logging.getLogger(__name__)

LOCK_SECONDS = 30

if TYPE_CHECKING:
    from tacolab.train.setup import Run
    from tacolab.train.stop import Stop


def run(
    plan: Plan, artefact: Artefact, threads: int | None = None, stop_after: float | None = None
) -> None:
    """Train (or go on, or only export) and write `model.safetensors`, `model.json`, exports.

    threads: of torch; equality to the bit needs the same number. stop_after: minutes.
    """
    import torch

    from tacolab.train.stop import Stop

    stop = Stop(stop_after)
    state = artefact.folder / "state"
    state.mkdir(parents=True, exist_ok=True)
    keep_log(state / "train.log")
    if threads:
        torch.set_num_threads(threads)
    with held(state / "lock"):
        _train(plan, artefact, stop)


def _train(plan: Plan, artefact: Artefact, stop: Stop) -> None:
    from tacolab.train.loop import export, train
    from tacolab.train.setup import set_up

    parts = set_up(plan, artefact)
    state = artefact.folder / "state"
    segments = state / "segments.jsonl"
    with segments.open("a") as file:
        line = {"started": round(time.time()), "host": socket.gethostname()}
        file.write(json.dumps(line) + "\n")
    train(parts, stop)

    for epoch in parts.recipe.export_epochs:
        kept = artefact.folder / f"epoch-{epoch}.safetensors"
        if not kept.exists():
            log.warning("%s is gone, and a finished state cannot make it again", kept)

    # Declared outputs come last: Snakemake deletes those of a job that failed.
    model, description = artefact.files
    export(parts, model)
    atomic.write_json(
        description,
        _description(parts, segments=len(segments.read_text().splitlines())),
    )


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock for as long as this process lives, so that one machine has one writer.

    Waits a little: loading processes of a trainer that was killed hold its lock a few seconds
    longer. Raises StageError when somebody else keeps it.
    """
    with path.open("w") as file:
        for waited in itertools.count():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if waited == LOCK_SECONDS:
                    raise StageError(
                        f"{path}: another process trains this model; wait for it or end it"
                    ) from None
                time.sleep(1)
        yield


def keep_log(path: Path) -> None:
    """Also append the log to `path`: a job's own log starts anew with every segment."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)


def _description(parts: Run, segments: int) -> dict[str, object]:
    """model.json: what the model is and what made it."""
    from tacolab.codec.adapter import Extractor, Injector

    artefact, state = parts.artefact, parts.state
    return {
        "key": artefact.key,
        "text": artefact.text,
        **artefact.names,
        "seed": parts.seed,
        "steps": state.step,
        "epochs": parts.recipe.epochs,
        "samples": len(parts.crops),
        "seconds": round(state.seconds, 1),
        "segments": segments,
        "validation": {"best": state.best, "last": state.last, "images": len(parts.held_out)},
        "codec": {
            "parameters": sum(p.numel() for p in state.model.parameters()),
            "adapter_parameters": sum(
                parameter.numel()
                for module in state.model.modules()
                if isinstance(module, Injector | Extractor)
                for parameter in module.parameters()
            ),
        },
        "provenance": provenance(),
    }
