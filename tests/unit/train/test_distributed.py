"""A training on several processes is that of one process, and goes on as exactly."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import small_training
from equality import assert_equal, assert_same
from tacolab import config
from tacolab.errors import UserError
from tacolab.plan import Plan
from tacolab.stages.train import distributed
from tacolab.stages.train.assemble import assemble
from tacolab.stages.train.step import step

CPU = torch.device("cpu")
PHOTOS = ["chelsea", "coffee", "china", "flower", "rocket"]  # one of them is held out


def two(**more: Any) -> dict[str, Any]:
    every = small_training.EVERY_STEP
    return {
        "execution": {"gpus": 2, "log_every": 3, "checkpoint_minutes": every, "workers": 0} | more
    }


def take_steps(folder: Path, changes: dict[str, Any]) -> None:
    """Train without validation; leave what this rank saw and became in `{rank}.pt`."""
    os.chdir(folder)
    torch.set_num_threads(1)
    plan = Plan(config.validate(small_training.study(**changes), "test"))
    run = assemble(plan, plan.find("train", arm="taco"))
    net = distributed.averaging(run.state.model.train())
    seen, terms = [], []
    for batch in run.batches():
        seen.append(list(zip(batch.indices, batch.images, batch.captions, strict=True)))
        terms.append(step(run, net, batch, run.recipe.learning_rate))
        run.state.step += 1
    state = run.state
    content = {
        "seen": seen,
        "terms": terms,
        "model": state.model.state_dict(),
        "gradients": momentum(state.optimizer),
        "aux_gradients": momentum(state.aux_optimizer),
    }
    torch.save(content, f"{distributed.rank()}.pt")


def momentum(optimizer: torch.optim.Adam) -> dict[int, torch.Tensor]:
    """Adam's running mean of the gradients; its steps hide how long these are."""
    return {i: moments["exp_avg"] for i, moments in optimizer.state_dict()["state"].items()}


@pytest.mark.slow
def test_two_ranks_take_the_steps_of_one(clip: Path, tmp_path: Path) -> None:
    """1 x batch 8 and 2 x batch 4, with an L_joint as large as the other terms.

    Sums in another order differ in float32 by some 1e-7 (measured: losses 2e-7, gradients 5e-7,
    weights 2e-8); the tolerances leave room for other machines. Gradients of L_joint that are wrong
    by the number of ranks differ by 5e-2, those without gathered embeddings by 3e-2.
    """
    changes = {
        "datasets": {"set": {"kind": "samples", "photos": PHOTOS, "min_side": 64}},
        "training": {"batch": 8, "epochs": 2, "joint_weight": 3.0, "joint_model": str(clip)}
        | {"milestones": [], "export_epochs": []},
    }
    small_training.prepare(tmp_path, **changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        take_steps(tmp_path, changes)
        one = torch.load("0.pt", weights_only=True)
        with distributed.started(2, CPU, take_steps, tmp_path, changes):
            take_steps(tmp_path, changes)
        ranks = [torch.load(f"{rank}.pt", weights_only=True) for rank in range(2)]

    assert len(one["seen"]) == 4
    assert_same([a + b for a, b in zip(*(r.pop("seen") for r in ranks), strict=True)], one["seen"])
    assert_same(*ranks)  # to the bit: losses, weights and both optimisers
    for ours, theirs in zip(ranks[0]["terms"], one["terms"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    for name in ("model", "gradients", "aux_gradients"):
        assert distance(ranks[0][name], one[name]) < 1e-5, name


def distance(ours: dict[Any, torch.Tensor], theirs: dict[Any, torch.Tensor]) -> float:
    """Relative Euclidean distance of two sets of tensors."""
    a, b = (torch.cat([tensor.flatten() for tensor in s.values()]) for s in (ours, theirs))
    return ((a - b).norm() / b.norm()).item()


ARM = "image-only"  # loads no text encoder


@pytest.fixture(scope="module")
def undisturbed_two(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a training on two ranks that was never interrupted."""
    folder = small_training.copy_inputs(prepared, tmp_path_factory.mktemp("undisturbed"))
    assert small_training.finish(folder, ARM, **two()) == 0
    return small_training.model_folder(folder, ARM)


def started(folder: Path, line: str, **execution: Any) -> subprocess.Popen[str]:
    """A training on two ranks that has just written this to its log, once more."""
    log = small_training.model_folder(folder, ARM) / "state/train.log"
    before = log.read_text().count(line) if log.exists() else 0
    process = subprocess.Popen(
        small_training.command(folder, arm=ARM, **two(**execution)),
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not log.exists() or log.read_text().count(line) == before:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    return process


@pytest.mark.slow
def test_signals_to_all_processes(folder: Path, undisturbed_two: Path) -> None:
    """As SLURM and a terminal send it, also while the other rank still starts."""
    for line in ("from step 0", "step 3/12"):
        process = started(folder, line, workers=1, checkpoint_minutes=1000)
        os.killpg(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 75, errors
        assert "SIGTERM: saved at step" in errors
    assert small_training.finish(folder, ARM, **two()) == 0
    assert_equal(small_training.model_folder(folder, ARM), undisturbed_two)


@pytest.mark.slow
def test_no_rank_outlives_another(folder: Path, undisturbed_two: Path) -> None:
    for victim in (0, 1):
        process = started(folder, "/12", workers=1)
        (other,) = other_ranks(process.pid)
        os.kill((process.pid, other)[victim], signal.SIGKILL)
        _, errors = process.communicate(timeout=120)  # until no rank holds stderr any more
        assert process.returncode == (-signal.SIGKILL if victim == 0 else 1), errors
        assert ("rank 1 was killed by SIGKILL" in errors) == (victim == 1)
    assert small_training.finish(folder, ARM, **two()) == 0
    assert_equal(small_training.model_folder(folder, ARM), undisturbed_two)


@pytest.mark.slow
def test_a_finished_state_exports_again_and_no_rank_complains(
    folder: Path, undisturbed_two: Path
) -> None:
    model = small_training.model_folder(folder, ARM)
    shutil.copytree(undisturbed_two, model, symlinks=True)
    (model / "model.safetensors").unlink()
    command = small_training.command(folder, arm=ARM, **two())
    again = subprocess.run(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    assert again.returncode == 0
    assert "rank 1" not in again.stderr
    assert_equal(model, undisturbed_two)


def other_ranks(pid: int) -> list[int]:
    """Child processes that were started afresh, not forked to load images."""
    children = " ".join(p.read_text() for p in Path(f"/proc/{pid}/task").glob("*/children"))
    return [
        int(c) for c in children.split() if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()
    ]


def test_batch_must_be_shared_equally() -> None:
    wrong = small_training.study(training={"batch": 3}, execution={"gpus": 2})
    with pytest.raises(UserError, match=r"training\.batch: 3 .* execution\.gpus = 2"):
        config.validate(wrong, "test")
