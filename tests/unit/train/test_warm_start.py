"""A training that starts from the weights of another model: what it takes, refuses, and that a kill
changes nothing."""

import hashlib
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import small_training
from equality import assert_equal
from tacolab import config
from tacolab.codec.weights import CODING_TABLE
from tacolab.errors import UserError
from tacolab.plan import Plan
from tacolab.stages.data import prefetch
from tacolab.stages.train.assemble import Run, assemble

AGAIN = {"text": None, "captions": "human"}
FILE = Path("start/best.safetensors")


def with_start(**start: object) -> dict[str, Any]:
    """The small study's arms and one more, `again`, which starts warm."""
    arms = small_training.study()["arms"]
    return {"arms": arms | {"again": AGAIN | {"training": {"start": start}}}}


ARM = with_start(arm="image-only", lmbda="0.01")


def weights_at_the_start(changes: dict[str, Any]) -> tuple[Run, dict[str, Tensor]]:
    """Of the arm `again`, without coding tables."""
    plan = Plan(config.validate(small_training.study(**changes), "test"))
    run = assemble(plan, plan.find("train", arm="again"))
    state = run.state.model.state_dict()
    return run, {k: v for k, v in state.items() if not CODING_TABLE.fullmatch(k)}


@pytest.fixture
def started(folder: Path, undisturbed_image_only: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the model that gives the weights."""
    model = small_training.model_folder(folder, "image-only")
    shutil.copytree(undisturbed_image_only, model)
    monkeypatch.chdir(folder)
    return folder


def in_file(folder: Path, weights: dict[str, Tensor]) -> dict[str, Any]:
    """The same start, from a file of these weights."""
    path = folder / "data" / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return with_start(file=str(FILE), sha256=digest) | {"data_root": "data"}


def test_it_begins_with_the_weights_and_nothing_else_of_the_other(started: Path) -> None:
    giver = small_training.model_folder(started, "image-only")
    exported = load_file(giver / "model.safetensors")
    run, weights = weights_at_the_start(ARM)
    assert all(torch.equal(value, exported[name]) for name, value in weights.items())
    assert {name for name in exported if not CODING_TABLE.fullmatch(name)} == weights.keys()
    assert "entropy_bottleneck.quantiles" in weights
    assert run.state.step == 0
    assert not run.state.optimizer.state and not run.state.aux_optimizer.state
    assert run.start == {
        "arm": "image-only",
        "lmbda": "0.01",
        "seed": "100",
        "key": giver.name,
        "sha256": hashlib.sha256((giver / "model.safetensors").read_bytes()).hexdigest(),
    }
    # Neither the random numbers that follow nor the network are others than of a fresh start.
    after = torch.get_rng_state()
    fresh, other = weights_at_the_start({"arms": ARM["arms"] | {"again": AGAIN}})
    assert torch.equal(torch.get_rng_state(), after)
    assert fresh.start is None and not torch.equal(
        other["g_a.analysis_transform.0.weight"], weights["g_a.analysis_transform.0.weight"]
    )


def test_the_same_weights_from_a_file_give_the_same_start(started: Path) -> None:
    giver = small_training.model_folder(started, "image-only")
    changes = in_file(started, load_file(giver / "model.safetensors"))
    run, weights = weights_at_the_start(changes)
    _, by_model = weights_at_the_start(ARM)
    assert weights.keys() == by_model.keys()
    assert all(torch.equal(value, by_model[name]) for name, value in weights.items())
    assert run.start is not None and run.start["file"] == str(FILE)


@pytest.mark.slow
def test_killed_before_its_first_checkpoint_and_later(
    started: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The first segment ends within its first step: the second starts warm again."""
    other = small_training.copy_inputs(prepared, tmp_path_factory.mktemp("again"))
    giver = small_training.model_folder(started, "image-only")
    shutil.copytree(giver, small_training.model_folder(other, "image-only"))
    assert small_training.finish(other, "again", **ARM) == 0
    for place in (("in_step", 1), ("before_rename", 1), ("in_step", 9), ("at_export", 2)):
        died = small_training.finish(started, "again", sabotage=place, **ARM)
        assert died == -signal.SIGKILL, place
    assert small_training.finish(started, "again", **ARM) == 0
    model = small_training.model_folder(started, "again", **ARM)
    assert_equal(model, small_training.model_folder(other, "again", **ARM))
    told = json.loads((model / "model.json").read_text())
    assert (told["start"]["key"], told["steps"]) == (giver.name, small_training.STEPS)
    assert json.loads((giver / "model.json").read_text())["start"] is None


def test_other_sizes_are_refused_with_names(started: Path) -> None:
    """Here a file of the arm with text: of models of the study the config knows it before."""
    taco = small_training.study(**with_start(arm="taco", lmbda="0.01"))
    with pytest.raises(UserError, match="text adapter is one there and none here"):
        config.validate(taco, "test")
    giver = small_training.model_folder(started, "image-only")
    good = load_file(giver / "model.safetensors")
    name = "g_a.analysis_transform.0.weight"
    wrong = [
        (good | {name: good[name][:4].contiguous()}, f"wrong shape (1): {name} is (4, 3, 5, 5), "),
        (good | {"g_a.text.weight": torch.ones(1)}, "extra (1): g_a.text.weight"),
        ({k: v for k, v in good.items() if k != name}, f"missing (1): {name}"),
        (good | {name: torch.full_like(good[name], torch.nan)}, f"{name} is not finite"),
    ]
    for weights, told in wrong:
        with pytest.raises(UserError) as refused:
            weights_at_the_start(in_file(started, weights))
        assert told in str(refused.value) and str(refused.value).startswith(f"data/{FILE}: ")
        assert "\n" not in str(refused.value)


def test_a_file_that_is_missing_or_another_is_named_beforehand(started: Path) -> None:
    giver = small_training.model_folder(started, "image-only")
    changes = in_file(started, load_file(giver / "model.safetensors"))
    study = config.validate(small_training.study(**changes), "test")
    path = started / "data" / FILE

    def lacking() -> list[str]:
        return [f"{n.name} {n.problem}" for n in prefetch.missing(study) if n.name == str(FILE)]

    assert lacking() == []
    path.write_bytes(b"other")
    assert lacking() == [f"{FILE} is not the file that the config pins"]
    with pytest.raises(UserError, match="changed: its sha256"):
        weights_at_the_start(changes)
    path.unlink()
    assert lacking() == [f"{FILE} is missing"]
    with pytest.raises(UserError, match="No such file"):
        weights_at_the_start(changes)


def test_a_damaged_or_foreign_file_is_refused(started: Path) -> None:
    giver = small_training.model_folder(started, "image-only") / "model.safetensors"
    content = bytearray(giver.read_bytes())
    content[len(content) // 2] ^= 1
    giver.write_bytes(content)
    with pytest.raises(UserError, match="other bytes than were written"):
        weights_at_the_start(ARM)
    path = started / "data" / FILE
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": {}}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(UserError, match=r"no model file .*imported by an arm with `checkpoints`"):
        weights_at_the_start(with_start(file=str(FILE), sha256=digest) | {"data_root": "data"})
