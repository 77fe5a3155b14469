"""A training killed anywhere ends with the same bits as one that was never interrupted."""

import json
import math
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import small_training
from equality import assert_equal
from tacolab.errors import StageError
from tacolab.stages.train import checkpoint
from tacolab.stages.train.finite import MANY, skipped

ARM = "image-only"  # loads no text encoder

# Counted from each resume. A training passes 10 lines, 2 exports and 24 steps of an optimiser.
PASSES = {"before_log_line": (1, 4, 5), "half_log_line": (2, 7), "after_log_line": (3, 8)} | {
    "at_export": (1, 2),
    "in_step": (1, 10, 13),
}


@pytest.mark.slow
@pytest.mark.parametrize("place", small_training.PLACES)
def test_killed_at_a_place(place: str, folder: Path, undisturbed_image_only: Path) -> None:
    """SIGKILL at several passes of one place, one after the other, then undisturbed to the end."""
    for n in PASSES.get(place, (1, 2, 5)):
        assert (
            small_training.finish(folder, arm="image-only", sabotage=(place, n)) == -signal.SIGKILL
        )
    assert small_training.finish(folder, arm="image-only") == 0
    assert_equal(small_training.model_folder(folder, "image-only"), undisturbed_image_only)


@pytest.mark.slow
def test_killed_by_the_clock(folder: Path, undisturbed: Path) -> None:
    """SIGKILL from outside, wherever the process happens to be."""
    kills = 0
    for delay in (1.2, 1.6, 2.0, 1.4, 1.8):
        process = small_training.start(folder)
        process.join(delay)
        if process.exitcode is None:
            process.kill()
            kills += 1
        process.join()
    assert kills >= 1
    assert small_training.finish(folder) == 0
    assert_equal(small_training.model_folder(folder), undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["keywords", "combined"])
def test_arms_with_token_weights_and_linear_attention(
    arm: str, prepared: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = small_training.copy_inputs(prepared, tmp_path_factory.mktemp(arm))
    assert small_training.finish(other, arm=arm) == 0
    for place in (("in_step", 9), ("before_rename", 3)):
        assert small_training.finish(folder, arm=arm, sabotage=place) == -signal.SIGKILL
    assert small_training.finish(folder, arm=arm) == 0
    assert_equal(*(small_training.model_folder(where, arm) for where in (folder, other)))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_killed_in_16_bits(
    precision: str, prepared: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The scaler of fp16 goes on where it was, too."""
    training = {"precision": precision}
    other = small_training.copy_inputs(prepared, tmp_path_factory.mktemp(precision))
    assert small_training.finish(other, training=training) == 0
    for place in (("in_step", 9), ("before_rename", 3), ("at_export", 1)):
        assert small_training.finish(folder, training=training, sabotage=place) == -signal.SIGKILL
    assert small_training.finish(folder, training=training) == 0
    ours, theirs = (small_training.model_folder(f, training=training) for f in (folder, other))
    assert_equal(ours, theirs)
    last = checkpoint.latest(ours / "state")
    assert last is not None and bool(last["scaler"]) == (precision == "fp16")


def test_steps_too_large_for_fp16_are_skipped_and_only_many_in_a_row_are_an_error() -> None:
    state = SimpleNamespace(scaler=torch.amp.GradScaler("cpu"), skipped=0)
    run: Any = SimpleNamespace(state=state, artefact="a model", folder=Path("state"))
    whole = {"total": 1.0, "gradient": 2.0}
    for _ in range(2):
        for n in range(MANY):
            assert skipped(run, n, whole | {"gradient": math.inf}) and state.skipped == n + 1
        assert not skipped(run, 7, whole) and state.skipped == 0
    with pytest.raises(StageError, match="gradient is not finite at step 100"):
        for n in range(MANY + 1):
            skipped(run, n, whole | {"gradient": math.nan})
    state.scaler = torch.amp.GradScaler("cpu", enabled=False)  # bf16 and fp32 skip nothing
    assert not skipped(run, 0, whole | {"gradient": math.inf})


def test_a_training_says_how_much_of_its_captions_is_read(undisturbed: Path) -> None:
    """Early, in state/, and beside the model."""
    found = json.loads((undisturbed / "state/text.json").read_text())
    assert (found["captions"], found["positions"]) == (5, 16)
    assert 0 < found["tokens_cut"] < found["captions_cut"] <= 1
    assert json.loads((undisturbed / "model.json").read_text())["tokens"] == found


def test_history_has_no_gap_and_no_repetition(undisturbed: Path) -> None:
    lines = [json.loads(line) for line in (undisturbed / "state/train.jsonl").open()]
    assert [line["step"] for line in lines if "step" in line] == [3, 6, 9, 12]
    assert [line["epoch"] for line in lines if "validation" in line] == [0, 1, 2, 3, 4, 5]


def test_tensorboard_has_each_scalar_once_per_step(undisturbed: Path) -> None:
    """And no axis drawn as one: the step is where a value stands."""
    board = EventAccumulator(str(undisturbed / "state/tensorboard")).Reload()
    steps = {tag: [event.step for event in board.Scalars(tag)] for tag in board.Tags()["scalars"]}
    assert steps["train/samples_per_second"] == steps["train/loss"] == [3, 6, 9, 12]
    assert steps["validation/loss"] == [2, 4, 6, 8, 10, 12]
    assert not [tag for tag in steps if tag.endswith("/step")]


@pytest.mark.parametrize("damage", ["truncated", "one bit"])
def test_damaged_checkpoint_is_skipped_and_named(
    damage: str, folder: Path, undisturbed_image_only: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert small_training.finish(folder, ARM, sabotage=("in_step", 15)) == -signal.SIGKILL
    state = small_training.model_folder(folder, ARM) / "state"
    newest = sorted(state.glob("checkpoint-*.pt"))[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content if damage == "one bit" else content[: len(content) // 2])
    loaded = checkpoint.latest(state)
    assert loaded is not None and loaded["step"] == 6
    assert newest.name in caplog.text
    assert small_training.finish(folder, ARM) == 0
    assert_equal(small_training.model_folder(folder, ARM), undisturbed_image_only)


def test_training_never_starts_anew_over_damaged_checkpoints(folder: Path) -> None:
    assert small_training.finish(folder, ARM, sabotage=("in_step", 9)) == -signal.SIGKILL
    state = small_training.model_folder(folder, ARM) / "state"
    for path in state.glob("checkpoint-*.pt"):
        path.write_bytes(b"")
    with pytest.raises(StageError, match="no checkpoint reads back whole"):
        checkpoint.latest(state)
    assert small_training.finish(folder, ARM) == 1


def test_two_checkpoints_are_kept(undisturbed: Path) -> None:
    names = sorted(path.name for path in (undisturbed / "state").glob("*checkpoint*"))
    assert [name.split("-")[2] for name in names] == ["000000011", "000000012"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_and_exits_75(number: int, folder: Path, undisturbed_image_only: Path) -> None:
    rare = {"log_every": 3, "checkpoint_minutes": 1000, "workers": 2}
    process = subprocess.Popen(
        small_training.command(folder, execution=rare),
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = small_training.model_folder(folder, ARM) / "state/train.log"
    while not (log.exists() and "step 3/12" in log.read_text()):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert f"{signal.Signals(number).name}: saved at step" in errors
    assert small_training.finish(folder, ARM) == 0
    assert_equal(small_training.model_folder(folder, ARM), undisturbed_image_only)


@pytest.mark.slow
def test_stop_after_saves_and_exits_75(folder: Path, undisturbed_image_only: Path) -> None:
    for step in range(1, 3):
        stopped = subprocess.run(
            small_training.command(folder, "--stop-after", "0"),
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert stopped.returncode == 75
        assert f"--stop-after: saved at step {step} of 12" in stopped.stderr
    assert small_training.finish(folder, ARM) == 0
    assert_equal(small_training.model_folder(folder, ARM), undisturbed_image_only)


@pytest.mark.slow
def test_loading_processes_change_nothing(folder: Path, undisturbed_image_only: Path) -> None:
    workers = {"log_every": 3, "checkpoint_minutes": small_training.EVERY_STEP, "workers": 2}
    assert small_training.finish(folder, ARM, execution=workers) == 0
    assert_equal(small_training.model_folder(folder, ARM), undisturbed_image_only)


@pytest.mark.slow
def test_a_loading_process_that_is_killed_ends_the_training_which_goes_on(
    folder: Path, undisturbed_image_only: Path
) -> None:
    """As by a kernel that is short of memory."""
    often = {"log_every": 3, "checkpoint_minutes": small_training.EVERY_STEP, "workers": 2}
    how: dict[str, Any] = {"arm": ARM, "execution": often}
    assert small_training.finish(folder, sabotage=("in_loading", 3), **how) == 1
    assert small_training.finish(folder, **how) == 0
    assert_equal(small_training.model_folder(folder, ARM), undisturbed_image_only)


def test_finished_state_exports_again_at_once(folder: Path, undisturbed_image_only: Path) -> None:
    model = small_training.model_folder(folder, ARM)
    assert small_training.finish(folder, ARM) == 0
    for name in ("model.safetensors", "model.json"):
        (model / name).unlink()
    assert small_training.finish(folder, ARM, sabotage=("in_step", 1)) == 0  # no step is taken
    assert_equal(model, undisturbed_image_only)


def test_foreign_state_is_refused(folder: Path, undisturbed_image_only: Path) -> None:
    other = {"learning_rate": 1e-4}
    state = small_training.model_folder(folder, ARM, training=other) / "state"
    state.parent.mkdir(parents=True)
    state.symlink_to(undisturbed_image_only / "state")
    stopped = subprocess.run(
        small_training.command(folder, training=other), cwd=folder, capture_output=True, text=True
    )
    assert stopped.returncode == 2
    assert "another training (spec.training" in stopped.stderr
    assert stopped.stderr.strip().splitlines()[-1].startswith("tacolab: ")


def test_non_finite_loss_names_step_and_term(folder: Path) -> None:
    wild = {"learning_rate": 1e30, "clip_norm": 1e30}
    stopped = subprocess.run(
        small_training.command(folder, training=wild), cwd=folder, capture_output=True, text=True
    )
    assert stopped.returncode == 1
    message = stopped.stderr.strip().splitlines()[-1]
    assert "is not finite at step" in message and "checkpoint" in message
    last = checkpoint.latest(small_training.model_folder(folder, ARM, training=wild) / "state")
    assert last is not None and last["step"] >= 1


def test_another_log_interval_on_resume_keeps_the_means_right(folder: Path) -> None:
    """Two steps are in the sums when the interval changes: the next line is the mean of five."""
    changed = {"log_every": 4, "checkpoint_minutes": small_training.EVERY_STEP, "workers": 0}
    every = changed | {"log_every": 1}
    assert small_training.finish(folder, ARM, sabotage=("in_step", 11)) == -signal.SIGKILL  # step 5
    assert small_training.finish(folder, ARM, execution=changed) == 0
    state = small_training.model_folder(folder, ARM) / "state"
    lines = {
        line["step"]: line
        for line in map(json.loads, (state / "train.jsonl").open())
        if "step" in line
    }
    assert list(lines) == [3, 8, 12]
    single = folder / "single"
    single.mkdir()
    small_training.copy_inputs(folder, single)
    assert small_training.finish(single, ARM, execution=every) == 0
    state = small_training.model_folder(single, ARM) / "state"
    each = [
        line["loss"] for line in map(json.loads, (state / "train.jsonl").open()) if "step" in line
    ]
    assert lines[8]["loss"] == pytest.approx(sum(each[3:8]) / 5)
