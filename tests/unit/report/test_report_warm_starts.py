"""Warm starts in the report: said wherever a model could be taken for the published recipe, and
judged only by what started alike."""

import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

import report_study
from tacolab import config
from tacolab.config import Study
from tacolab.plan import Plan
from tacolab.stages.report import build
from tacolab.stages.report.figures.training import training as draw
from tacolab.stages.report.inputs import read
from tacolab.stages.report.measure.baselines import mismatches
from test_report_page import Page

OWN = {"lmbda": "0.0016", "epochs": 2, "milestones": [1]}
TWO = {"lambdas": ["0.0008", "0.0016"]}
TEXT = {"text": "minilm", "captions": "human"}
FILE = {"file": "start/best.safetensors", "sha256": "0123abcd" * 8}


def study(start: object = "fresh", **arms: dict[str, Any]) -> Study:
    """taco and others at two lambdas; `start` of the study's recipe."""
    content = report_study.study(**TWO, arms={"taco": TEXT, **arms})
    content["training"]["start"] = start
    return config.validate(content, "test")


def starting(start: object, **entries: Any) -> dict[str, Any]:
    return TEXT | {"training": {"start": start}} | entries


def why(found: Study, arm: str = "other") -> str:
    return mismatches(found, []).get(arm, "")


def test_arms_that_each_start_from_their_own_model_are_compared() -> None:
    assert mismatches(study(OWN, other=TEXT, textless=TEXT | {"text": None}), []) == {}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (
            starting("fresh"),
            "starts at λ 0.0008 from fresh weights, its baseline from taco at λ 0.0016: not compar",
        ),
        (
            starting(OWN | {"lmbda": "0.0008"}),
            "starts at λ 0.0008 from fresh weights, its baseline from taco at λ 0.0016: not compar",
        ),
        # Both from one model; but at its lambda only one of them starts warm.
        (starting(OWN | {"arm": "taco"}, lambdas=["0.0008"]), ""),
        (
            starting(OWN | {"arm": "taco"}),
            "starts at λ 0.0016 from taco at λ 0.0016, its baseline from fresh weights: not compar",
        ),
        (
            starting(FILE | {"epochs": 2, "milestones": [1]}),
            "starts at λ 0.0008 from best.safetensors (sha256 0123abcd), its baseline from taco at",
        ),
        (
            starting(OWN | {"epochs": 1}),
            "trained for 1 epochs against 2 at λ 0.0008: not comparable",
        ),
        (
            starting(OWN | {"milestones": [0]}),
            "trained with milestones [0] against [1] at λ 0.0008: not comparable",
        ),
        # Alike after their starts, but the models that these are were not.
        (
            TEXT | {"training": {"epochs": 4}},
            "trained for 4 epochs against 3: not comparable",
        ),
    ],
)
def test_who_is_judged_by_a_baseline_that_starts_warm(other: dict[str, Any], expected: str) -> None:
    found = why(study(OWN, other=other))
    assert found.startswith(expected) and bool(found) == bool(expected)


def test_one_file_is_one_start() -> None:
    elsewhere = FILE | {"file": "copy.safetensors"}
    assert why(study(FILE, other=starting(elsewhere))) == ""
    another = FILE | {"sha256": "f" * 64}
    assert "from best.safetensors (sha256 ffffffff)" in why(study(FILE, other=starting(another)))


def test_a_fresh_adapter_is_another_start_where_both_arms_have_one() -> None:
    """One adapter was trained before, the other was not."""
    kept, fresh = {"bundled": "text"}, {"bundled": "text", "adapter": "fresh"}
    assert "text”, with a fresh text adapter, its" in why(study(kept, other=starting(fresh)))
    assert why(study(fresh, other=starting(fresh))) == ""
    textless = starting({"bundled": "text"}, text=None)
    assert why(study(fresh, other=textless)) == ""


def test_the_starts_count_even_where_their_lambda_is_not_compared() -> None:
    """taco@1 is only at 0.0008, from taco's model of 3 epochs; the arm's own had 2."""
    taco = TEXT | {"training": {"export_epochs": [1]}}
    early = {"of": {"arm": "taco", "epoch": 1}, "lambdas": ["0.0008"]}
    for epochs, expected in ((3, ""), (2, "trained for 2 epochs against 3: not comparable")):
        start = OWN | {"epochs": 1, "milestones": []}
        other = TEXT | {"training": {"epochs": epochs, "start": start}, "baseline": "taco@1"}
        arms = {"taco": taco, "taco@1": early, "other": other}
        content = report_study.study(**TWO, arms=arms)
        content["training"]["start"] = OWN | {"milestones": []}
        assert why(config.validate(content, "test")) == expected


def test_the_report_says_it(make_plan: Callable[..., Plan]) -> None:
    arms = {"taco": TEXT, "image-only": TEXT | {"text": None, "training": {"start": OWN}}}
    plan = make_plan(arms=arms, **TWO, **report_study.SMALL_SET)
    state = plan.find("train", arm="image-only", lmbda="0.0008").folder / "state"
    state.mkdir()
    (state / "train.jsonl").write_text(json.dumps({"step": 100, "epoch": 0, "loss": 2.0}) + "\n")
    report = plan.find("report")
    inputs = read(plan.study, report)
    build.run(plan, report)

    text = " ".join(Page(report.path).text.split())
    head = text[: text.index("The study makes no claim about")]
    assert "(2 to 3 epochs) per model" in head
    assert (
        "warm start, not the published recipe: image-only at λ 0.0008: 2 epochs after the weights "
        "of image-only at λ 0.0016, learning rate x 0.1 from epoch 1 on"
    ) in head
    assert text.count("a warm start, not as published") == 1  # under one of two figures

    figure, _ = draw(plan.study, inputs.trainings, "0.0008")
    legend = {entry.get_text() for entry in figure.legends[0].get_texts()}
    assert legend == {"image-only, from image-only at λ 0.0016"}

    models = pd.read_csv(report.folder / "tables/models.csv", dtype=str, keep_default_na=False)
    starts = models.set_index(["arm", "lmbda"])["start"]
    assert starts["image-only", "0.0008"] == "image-only at λ 0.0016"
    assert set(starts.drop(("image-only", "0.0008"))) == {""}
    bd = pd.read_csv(report.folder / "tables/bd.csv")
    ours = bd[bd["arm"] == "image-only"]
    assert ours["note"].str.contains("starts at λ 0.0008 from image-only").all()
    assert set(ours["verdict"]) == {"not measured"}
