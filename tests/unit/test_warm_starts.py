"""Warm starts in the config, the plan and the costs: who starts from whom, what is refused."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from config_study import changed, problem
from tacolab import config
from tacolab.config.warm_starts import sizes
from tacolab.overview import costs
from tacolab.overview.costs import Work
from tacolab.plan import Artefact, Plan
from tacolab.readers.networks import build_codec
from test_keys import BASE, plan

OWN = {"lmbda": "0.0016", "epochs": 10, "milestones": [8]}
FILE = {"file": "start/model.safetensors", "sha256": "a" * 64}


def model(what: Plan, arm: str, lmbda: str, seed: int = 100) -> Artefact:
    return what.find("train", arm=arm, lmbda=lmbda, seed=str(seed))


# -- the plan -----------------------------------------------------------------------------------


def test_each_arm_starts_from_its_own_model_which_starts_fresh() -> None:
    what = plan(training__start=OWN)
    for arm in ("taco", "wide", "image-only"):
        first, warm = model(what, arm, "0.0016"), model(what, arm, "0.015")
        assert first.key == model(BASE, arm, "0.0016").key
        assert warm.inputs["start"] is first
        how = warm.spec["training"]
        assert (how["epochs"], how["milestones"], "start" in how) == (10, [8], False)
    # Named or not, an arm is itself.
    named = plan(arms__taco__training={"start": OWN | {"arm": "taco"}})
    assert model(named, "taco", "0.015").key == model(what, "taco", "0.015").key
    # Only what starts warm, and what follows from it, has another key.
    moved = {a.names["lmbda"] for a in what if a.path not in {b.path for b in BASE} and a.names}
    assert moved == {"0.015"}


def test_the_start_is_in_the_key() -> None:
    starts: list[Any] = [
        "fresh",
        {"lmbda": "0.0016"},
        {"lmbda": "0.0016", "epochs": 9, "milestones": []},
        FILE,
        FILE | {"sha256": "b" * 64},
        FILE | {"adapter": "fresh"},
    ]
    keys = {
        model(plan(arms__wide__training={"start": start}), "wide", "0.015").key for start in starts
    }
    assert len(keys) == len(starts)
    assert model(BASE, "wide", "0.015").key in keys


def test_every_lambda_of_another_arm_starts_from_one_model() -> None:
    arms = {"arms__again": {"text": None, "captions": "human", "extra_seeds": {"0.015": [7]}}}
    start = {"arms__again__training": {"start": {"arm": "image-only", "lmbda": "0.015"}}}
    what = plan(**arms, **start)
    giver = model(what, "image-only", "0.015")
    for lmbda, seed in (("0.0016", 100), ("0.015", 100), ("0.015", 7)):
        assert model(what, "again", lmbda, seed).inputs["start"] is giver
    faster = plan(**arms, **start, **{"arms__image-only__training": {"learning_rate": 1e-3}})
    assert model(faster, "again", "0.0016").key != model(what, "again", "0.0016").key


def test_a_file_counts_by_its_content_and_is_needed() -> None:
    what, moved = (
        plan(**{"arms__image-only__training": {"start": FILE | {"file": name}}})
        for name in ("a.safetensors", "b.safetensors")
    )
    warm = model(what, "image-only", "0.0016")
    assert warm.key == model(moved, "image-only", "0.0016").key
    needs = [need for need in warm.stage.needs(what.study, warm) if need.kind == "file"]
    assert [(need.name, need.what) for need in needs] == [
        ("a.safetensors", "weights that image-only starts from")
    ]


def test_an_export_of_a_shorter_start_is_none() -> None:
    exports = {"export_epochs": [5, 40], "start": OWN}
    what = plan(arms__taco__training=exports)
    assert model(what, "taco", "0.0016").spec["training"]["export_epochs"] == [5, 40]
    assert model(what, "taco", "0.015").spec["training"]["export_epochs"] == [5]


# -- refused ------------------------------------------------------------------------------------

LINEAR = {"kind": "linformer", "rank": 4}
ARMS: dict[str, dict[str, Any]] = {
    "image-only": {"text": None},
    "taco": {"text": "small"},
    "fast": {"text": "small", "attention": "sdpa"},
    "keywords": {"text": "small", "token_weighting": "pooled"},
    "clip": {"text": "clip"},
    "linear": {"text": "small", "attention": LINEAR},
    "shared": {"text": "small", "attention": LINEAR | {"shared": True}},
    "higher": {"text": "small", "attention": LINEAR | {"rank": 5}},
    "pooled": {"text": "small", "attention": LINEAR, "token_weighting": "pooled"},
}


def test_sizes_differ_exactly_where_networks_do() -> None:
    arms = {name: how | {"captions": "human"} for name, how in ARMS.items()}
    protocol = {"baseline": "taco", "datasets": {}}
    study = plan(arms=arms, protocol=protocol).study
    shapes = {
        name: {key: value.shape for key, value in build_codec(study, name).state_dict().items()}
        for name in ARMS
    }
    for one, other in product(ARMS, ARMS):
        alike = sizes(study, one) == sizes(study, other)
        assert alike == (shapes[one] == shapes[other]), (one, other)


@pytest.mark.parametrize("giver", ["image-only", "taco", "linear"])
def test_a_fresh_adapter_starts_from_any_arm(giver: str) -> None:
    start = {"arm": giver, "lmbda": "0.0016", "adapter": "fresh"}
    arms = {name: how | {"captions": "human"} for name, how in ARMS.items()}
    arms["shared"]["training"] = {"start": start}
    protocol = {"baseline": "taco", "datasets": {}}
    study = plan(arms=arms, protocol=protocol).study
    assert study.recipe_at("shared", "0.015").start.adapter == "fresh"  # type: ignore[union-attr]


START = "arms/image-only/training"


@pytest.mark.parametrize(
    ("place", "start", "message"),
    [
        ("training/start", "cold", "training.start: unknown value 'cold'; valid: fresh"),
        ("training/start", 3, "training.start: must be `fresh` or a mapping of keys, not 3"),
        ("training/start", None, "training.start: must be `fresh` or a mapping of keys, not null"),
        (START, {"start": "cold"}, "arms.image-only.training.start: unknown value 'cold'; valid:"),
        ("training/start", {}, "training.start.lmbda: name the lambda of a model, a `"),
        ("training/start", {"lmbda": 0.0016}, "training.start.lmbda: write it in quotes as a pl"),
        ("training/start", {"lmda": "1"}, "training.start.lmda: unknown key; did you mean 'lmbda'"),
        ("training/start", {"file": "a"}, "training.start.sha256: is missing: a training needs th"),
        (
            "training/start",
            FILE | {"arm": "taco"},
            "training.start.arm: the weights are those of `file`; take one of both out",
        ),
        (
            "training/start",
            FILE | {"lmbda": "0.0016"},
            "training.start.lmbda: name the lambda of a model, a `bundled` model or a `f",
        ),
        (
            "training/start",
            {"lmbda": "0.0016", "sha256": "a" * 64},
            "training.start.sha256: belongs to a `file`; take it out",
        ),
        (
            "training/start",
            {"lmbda": "0.0016", "epochs": 10},
            "training.start.milestones: is missing: 10 epochs reach none of [45, 48], so the lear",
        ),
        (
            START,
            {"start": {"lmbda": "0.004"}},
            "arms.image-only.training.start.lmbda: arm 'image-only' has no model at '0.004'; it ha",
        ),
        (
            START,
            {"start": {"arm": "tako", "lmbda": "0.0016"}},
            "arms.image-only.training.start.arm: unknown arm 'tako'; did you mean 'taco'?",
        ),
        (
            START,
            {"start": {"arm": "taco", "lmbda": "0.0016"}},
            "arms.image-only.training.start.arm: the weights of arm 'taco' do not fit arm 'image-o"
            "nly': text adapter is one there and none here; name another arm, or `start: fresh` in",
        ),
    ],
)
def test_wrong_starts(place: str, start: object, message: str) -> None:
    assert problem(changed(place, start)).startswith(message)


def again(**training: Any) -> dict[str, Any]:
    return {"text": None, "captions": "human", "training": training}


def test_a_circle_is_named() -> None:
    study = changed("arms/one", again(start={"arm": "two", "lmbda": "0.015"}))
    study["arms"]["two"] = again(start={"arm": "one", "lmbda": "0.0016"})
    assert problem(study) == (
        "arms.one.training.start: goes in a circle: one at '0.0016' from two at '0.015' from one "
        "at '0.0016'; let one of them start fresh"
    )


def test_a_model_that_comes_later_is_no_start() -> None:
    study = changed("phases", [["0.015"], ["0.0016"]])
    study["training"]["start"] = OWN
    assert problem(study) == (
        "training.start.lmbda: '0.0016' is trained in phase 2, and '0.015' of phase 1 starts from "
        "it; change `phases`"
    )


def test_exported_epochs_and_warm_starts() -> None:
    study = changed("arms/taco/training", {"export_epochs": [5, 40], "start": OWN})
    study["arms"]["early"] = {"of": {"arm": "taco", "epoch": 5}}
    config.validate(study, "my.yaml")
    study["arms"]["early"] = {"of": {"arm": "taco", "epoch": 40}}
    assert problem(study) == (
        "arms.early.of.epoch: arm 'taco' starts warm at '0.015' and has 10 epochs there; leave "
        "that lambda out"
    )
    study["arms"]["early"]["lambdas"] = ["0.0016"]
    config.validate(study, "my.yaml")
    study["arms"]["image-only"]["training"] = {"start": {"arm": "early", "lmbda": "0.0016"}}
    assert problem(study).startswith(
        "arms.image-only.training.start.arm: 'early' is an epoch of arm 'taco', which has no model"
    )


def test_what_is_wrong_in_the_other_arm_is_told_of_that_one() -> None:
    study = changed("arms/taco/training", {"start": {"arm": "later", "lmbda": "0.0016"}})
    study["arms"]["later"] = {"text": "unknown", "captions": "human"}
    assert problem(study).startswith("arms.later.text: unknown text encoder 'unknown'")


def test_an_arm_may_be_taken_out() -> None:
    study = changed("training/start", OWN)
    study["arms"]["image-only"]["training"] = {"start": "fresh"}
    found = config.validate(study, "my.yaml")
    assert found.recipe_at("image-only", "0.015") == found.recipe("image-only")
    assert found.recipe_at("image-only", "0.015").epochs == 60
    assert found.recipe_at("taco", "0.015").epochs == 10


# -- costs --------------------------------------------------------------------------------------


def test_a_plan_counts_the_epochs_of_warm_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = {"training__batch": 1, "training__validation_images": 1}
    full, warm = (
        costs.estimate(what, rate=1.0, gpus_at_once=9, hours_per_job=48)
        for what in (plan(**small), plan(**small, training__start=OWN))
    )
    assert full.total.samples and warm.total.samples
    # Three arms at two lambdas: 50 epochs each, or 50 and 10.
    assert warm.total.samples / full.total.samples == pytest.approx(60 / 100)
    assert any("Warm starts: 3 of 6 models" in note for note in warm.notes)
    assert not any("Warm starts" in note for note in full.notes)
    # No GPU of the nine can begin with a warm one before its model is there.
    assert full.total.days and warm.total.days and warm.total.days > full.total.days


def test_a_warm_start_waits_for_its_model() -> None:
    def days(*warm: tuple[str, str, float], gpus: int) -> float:
        first = Work("first", None, hours=5.0, segments=1)
        more = [Work(name, start, hours=hours, segments=1) for name, start, hours in warm]
        return costs.schedule([*more, first], gpus)

    assert days(("a", "first", 1.0), ("b", "first", 1.0), gpus=3) == 6
    assert days(("a", "first", 1.0), ("b", "a", 2.0), gpus=3) == 8
    assert days(("a", "first", 1.0), ("b", "first", 1.0), gpus=1) == 7
    assert days(("a", "done", 9.0), gpus=2) == 9  # its model is there
