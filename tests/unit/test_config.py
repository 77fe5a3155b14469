"""Every wrong config gives one line: file, path of the key, what is wrong, the nearest name."""

from pathlib import Path
from typing import Any

import pytest

from config_study import CONFIG, DEMO, GONE, changed, problem
from tacolab import config
from tacolab.config import Study
from tacolab.errors import UserError

WRONG = [
    # unknown keys, at every level
    ("lambda", 1, "lambda: unknown key; did you mean 'lambdas'?"),
    ("datasets/photos/min_sid", 1, "datasets.photos.min_sid: unknown key; did you mean 'min_side'"),
    (
        "datasets/kodak/list",
        {"pth": 1},
        "datasets.kodak.list.pth: unknown key; did you mean 'path'",
    ),
    ("captions/human/txt", 1, "captions.human.txt: unknown key; valid: kind"),
    ("encoders/minilm/widht", 1, "encoders.minilm.widht: unknown key; did you mean 'width'?"),
    ("codec/K", 1, "codec.K: unknown key; valid: N, M, groups"),
    ("training/epoch", 1, "training.epoch: unknown key; did you mean 'epochs'?"),
    ("arms/taco/caption", 1, "arms.taco.caption: unknown key; did you mean 'captions'?"),
    ("arms/taco/training", {"crp": 64}, "arms.taco.training.crp: unknown key; did you mean 'crop'"),
    ("protocol/base", 1, "protocol.base: unknown key; did you mean 'baseline'?"),
    ("protocol/datasets/photos/contrls", [], "protocol.datasets.photos.contrls: unknown key; did"),
    ("execution/devise", "cpu", "execution.devise: unknown key; did you mean 'device'?"),
    # keys that earlier versions called otherwise
    ("weights", {"factor": 2}, "weights: is now called token_weights; rename it"),
    ("arms/taco/weights", {"0.0016": "x"}, "arms.taco.weights: is now called checkpoints; rename"),
    # lambdas
    ("lambdas", [], "lambdas: must have at least 1 entry"),
    ("lambdas", "0.1", "lambdas: must be a list, like [a, b], not '0.1'"),
    ("lambdas", ["0.1", "0"], "lambdas.1: lambda must be a number above 0, not 0"),
    ("lambdas", ["-0.1"], "lambdas.0: lambda must be a number above 0, not -0.1"),
    ("lambdas", ["nan"], "lambdas.0: lambda must be a number above 0, not nan"),
    ("lambdas", [0.0016], 'lambdas.0: write it in quotes as a plain decimal, like "0.0016" (YAML'),
    ("lambdas", ["4e-4"], "lambdas.0: write it as a plain decimal, like '0.0004'"),
    ("lambdas", ["+0.1"], "lambdas.0: write it as a plain decimal, like '0.1'"),
    ("lambdas", ["1_0"], "lambdas.0: write it as a plain decimal, like '10'"),
    ("lambdas", ["\u0660.\u0661"], "lambdas.0: write it as a plain decimal, like '0.1'"),
    ("lambdas", ["0.1\n"], "lambdas.0: write it as a plain decimal, like '0.1'"),
    ("lambdas", ["small"], "lambdas.0: 'small' is not a number"),
    ("lambdas", ["0.1", "0.10"], "lambdas: '0.10' and '0.1' are two spellings of one lambda"),
    ("lambdas", ["0.1", "0.1"], "lambdas: '0.1' stands there twice"),
    ("arms/taco/lambdas", ["0.00160"], "arms.taco.lambdas: '0.00160' and '0.0016' are two spell"),
    ("arms/taco/lambdas", [], "arms.taco.lambdas: must have at least 1 entry"),
    ("arms/taco/extra_seeds", {"0.0160": [1]}, "arms.taco.extra_seeds: '0.0160' is not among"),
    ("arms/taco/extra_seeds", {"0.00160": [1]}, "arms.taco.extra_seeds: '0.00160' and '0.0016' ar"),
    ("arms/taco/extra_seeds", {0.0016: [1]}, "arms.taco.extra_seeds: write it in quotes"),
    # phases
    ("phases", [["0.0016"]], "phases: '0.015' is in none of them"),
    ("phases", [["0.015"], ["0.0016", "0.015"]], "phases: '0.015' stands there twice"),
    ("phases", [["0.015"], ["0.00160"]], "phases: '0.00160' and '0.0016' are two spellings"),
    ("phases", [["0.015"], [0.0016]], "phases.1.0: write it in quotes as a plain decimal"),
    ("phases", [[], ["0.0016", "0.015"]], "phases.0: must have at least 1 entry"),
    ("phases", ["0.0016", "0.015"], "phases.0: must be a list, like [a, b], not '0.0016'"),
    ("phase", 2, "phase: there is no phase 2: `phases` has 1"),
    ("phase", 0, "phase: must be at least 1, not 0"),
    ("phase", "all", "phase: must be a whole number, not 'all'"),
    # seeds
    ("arms/taco/extra_seeds", {"0.0016": [7, 7]}, "arms.taco.extra_seeds.0.0016: names a seed twi"),
    ("arms/taco/extra_seeds", {"0.0016": [100]}, "arms.taco.extra_seeds.0.0016: names a seed twic"),
    ("seed", -1, "seed: must be at least 0, not -1"),
    # names
    (
        "training/dataset",
        "photo",
        "training.dataset: unknown data set 'photo'; did you mean 'photos",
    ),
    ("arms/taco/training", {"dataset": "photo"}, "arms.taco.training.dataset: unknown data set"),
    (
        "arms/taco/captions",
        "humn",
        "arms.taco.captions: unknown caption source 'humn'; did you mea",
    ),
    ("arms/taco/captions", {"photo": "human"}, "arms.taco.captions.photo: unknown data set 'photo"),
    ("arms/taco/captions", {"photos": "humn"}, "arms.taco.captions.photos: unknown caption source"),
    ("arms/taco/captions", {"photos": "human"}, "arms.taco.captions: names no caption source for"),
    ("arms/taco/captions", {"photos": 3}, "arms.taco.captions.photos: must be text, not 3"),
    ("arms/taco/captions", None, "arms.taco.captions: must be text, not null"),
    ("arms/taco/text", GONE, "arms.taco.text: is missing"),
    ("arms/taco/captions", GONE, "arms.taco.captions: is missing"),
    ("arms/taco/text", "clip", "arms.taco.text: unknown text encoder 'clip'; valid: minilm"),
    ("encoders", {}, "arms.taco.text: unknown text encoder 'minilm'; valid: none"),
    ("protocol/baseline", "tako", "protocol.baseline: unknown arm 'tako'; did you mean 'taco'?"),
    ("protocol/datasets/foto", {}, "protocol.datasets.foto: unknown data set 'foto'; did you mean"),
    ("protocol/datasets/photos/controls", ["emty"], "protocol.datasets.photos.controls: unknown c"),
    ("protocol/datasets/photos/controls", ["own"], "protocol.datasets.photos.controls: 'own' is a"),
    (
        "protocol/datasets/photos/controls",
        ["empty"] * 2,
        "protocol.datasets.photos.controls: 'empt",
    ),
    (
        "protocol/datasets/photos/controls_by_arm",
        {"tako": ["empty"]},
        "protocol.datasets.photos.controls_by_arm.tako: unknown arm 'tako'; did you mean 'taco'?",
    ),
    (
        "protocol/datasets/photos/controls_by_arm",
        {"image-only": ["empty"]},
        "protocol.datasets.photos.controls_by_arm.image-only: this arm reads no text",
    ),
    (
        "protocol/datasets/photos/controls_by_arm",
        {"taco": ["empty"]},
        "protocol.datasets.photos.controls_by_arm.taco: 'empty' stands there twice",
    ),
    (
        "protocol/datasets/photos/captions_by_arm",
        {"image-only": 5},
        "protocol.datasets.photos.captions_by_arm.image-only: this arm reads no text",
    ),
    (
        "protocol/datasets/photos/distribution",
        {"controls": ["emty"]},
        "protocol.datasets.photos.distribution.controls: 'emty' is not evaluated on this data set; "
        "did you mean 'empty'?",
    ),
    (
        "protocol/datasets/photos/distribution",
        {"fid": "crops"},
        "protocol.datasets.photos.distribution.fid: unknown value 'crops'; valid: images, patches",
    ),
    ("captions/own", {"kind": "empty"}, "captions.own: the name is taken"),
    ("datasets/a b", {"kind": "samples", "photos": ["x"]}, "datasets.a b: 'a b' appears in paths"),
    ("datasets/a\nb", {"kind": "samples", "photos": ["x"]}, "datasets.a b: 'a\\nb' appears in"),
    ("arms/..", DEMO["arms"]["taco"], "arms...: '..' appears in paths"),
    # sizes
    (
        "training/crop",
        512,
        "training.crop: 512 is larger than the smallest image that datasets.pho",
    ),
    ("arms/taco/training", {"crop": 512}, "arms.taco.training.crop: 512 is larger than the smalle"),
    ("protocol/datasets/photos/crop", 512, "protocol.datasets.photos.crop: 512 is larger than dat"),
    ("training/crop", 100, "training.crop: must be a multiple of 64, not 100"),
    ("arms/taco/training", {"crop": 100}, "arms.taco.training.crop: must be a multiple of 64, not"),
    ("codec/groups", [4, 4], "codec.groups: must be positive and sum to M = 48, not 8"),
    ("codec/groups", [0, 48], "codec.groups: must be positive and sum to M = 48"),
    ("codec/N", 12, "codec.N: must be a multiple of 8, not 12"),
    ("encoders/minilm/width", 100, "encoders.minilm.width: must be a multiple of 8, not 100"),
    ("training/export_epochs", [61], "training.export_epochs: 61 is not in 1 ... 60 epochs"),
    ("arms/taco/training", {"export_epochs": [0]}, "arms.taco.training.export_epochs: 0 is not in"),
    # caption sources that cannot caption the data set
    ("protocol/datasets/kodak", {}, "arms.taco.captions: data set 'kodak' has no human captions"),
    ("arms/taco/captions", "released", "arms.taco.captions: captions.released.files has no file "),
    ("arms/taco/captions", "shuffled", "arms.taco.captions: 'shuffled' is a control (it is made"),
    (
        "protocol/datasets/photos/controls",
        ["released"],
        "protocol.datasets.photos.controls: captio",
    ),
    ("captions/released/files/fotos", "x", "captions.released.files.fotos: unknown data set 'foto"),
    # what would be ignored, or counted as something else
    (
        "arms/taco/attention",
        {"kind": "softmax", "rank": 3},
        "arms.taco.attention.rank: softmax has none; take it out, or set kind to linformer",
    ),
    (
        "arms/taco/attention",
        {"kind": "linformer", "rank": 100_000},
        "arms.taco.attention.rank: must be at most 1024, not 100000",
    ),
    (
        "arms/taco/token_weighting",
        "pooled",
        "token_weights: with tfidf, noun_heads and entities off no token of arm 'taco' counts more",
    ),
    ("captions/chat", {"kind": "gpt4o", "prompt": ""}, "captions.chat.prompt: must not be empty"),
    ("captions/chat", {"kind": "hf", "model": ""}, "captions.chat.model: must not be empty"),
    ("captions/chat", {"kind": "gpt4o", "attempts": 300}, "captions.chat.attempts: must be at mo"),
    ("encoders/minilm/model", "", "encoders.minilm.model: must not be empty"),
    ("execution", {"api": {"price": [-5, -5]}}, "execution.api.price.0: must be at least 0.0, no"),
    # kinds and choices
    (
        "datasets/photos/kind",
        "foldr",
        "datasets.photos.kind: unknown kind 'foldr'; did you mean 'f",
    ),
    (
        "datasets/photos/kind",
        GONE,
        "datasets.photos.kind: is missing; valid: samples, coco, folder",
    ),
    ("captions/human/kind", "humen", "captions.human.kind: unknown kind 'humen'; did you mean 'hu"),
    (
        "encoders/minilm/kind",
        "clp",
        "encoders.minilm.kind: unknown kind 'clp'; did you mean 'clip'",
    ),
    ("execution/device", "cuba", "execution.device: unknown value 'cuba'; did you mean 'cuda'?"),
    (
        "training/lpips_range",
        "x",
        "training.lpips_range: unknown value 'x'; valid: published, stan",
    ),
    (
        "protocol/anchors",
        {"jpg": [1]},
        "protocol.anchors.jpg: unknown value 'jpg'; did you mean 'jp",
    ),
    ("protocol/anchors", {"jpeg": [101]}, "protocol.anchors.jpeg.0: must be at most 100, not 101"),
    ("protocol/anchors", {"jpeg": [9, 9]}, "protocol.anchors.jpeg: '9' stands there twice"),
    ("protocol/anchors", {"jpeg": []}, "protocol.anchors.jpeg: must have at least 1 entry"),
    # types and ranges
    ("title", 3, "title: must be text, not 3 (quote it if it is meant so)"),
    ("title", GONE, "title: is missing"),
    ("seed", "x", "seed: must be a whole number, not 'x'"),
    ("seed", 1.5, "seed: must be a whole number, not 1.5"),
    ("data_root", 3, "data_root: must be a path, not 3"),
    ("datasets/photos", None, "datasets.photos: must be a mapping of keys, not null"),
    ("training/epochs", 0, "training.epochs: must be at least 1, not 0"),
    ("training/learning_rate", 0, "training.learning_rate: must be above 0.0, not 0"),
    ("training/learning_rate", float("inf"), "training.learning_rate: must be a finite number"),
    ("training/batch", True, "training.batch: true and false are truth values; quote them"),
    ("arms/taco/text", False, "arms.taco.text: true and false are truth values"),
    ("training/milestones", 3, "training.milestones: must be a list, like [1, 2], not 3"),
    ("execution", [], "execution: must be a mapping of keys, not []"),
    ("datasets/kodak/list", {"path": "x", "sha256": "A"}, "datasets.kodak.list.sha256: must match"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG)
def test_wrong_input_is_one_line_that_names_the_key(path: str, value: Any, message: str) -> None:
    assert problem(changed(path, value)).startswith(message)


def test_the_demo_that_the_wrong_inputs_start_from_is_right() -> None:
    assert isinstance(config.validate(DEMO, "my.yaml"), Study)


def test_further_problems_are_counted() -> None:
    assert problem({}) == "title: is missing (and 6 more)"


@pytest.mark.parametrize("study", [None, [], "x", 3])
def test_what_is_no_mapping_is_refused(study: Any) -> None:
    assert "must be a mapping of keys" in problem(study)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "--set seed: write KEY=VALUE"),
        ("lambdas=[", "--set lambdas=[: not valid YAML"),
        ("sed=3", "sed: unknown key; did you mean 'seed'?"),
    ],
)
def test_wrong_overrides_are_named(override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        config.load(CONFIG / "demo.yaml", [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_overrides_are_read_as_yaml() -> None:
    study = config.load(
        CONFIG / "demo.yaml", ["seed=7", 'lambdas=["0.1", "0.004"]', "data_root=/d"]
    )
    assert (study.seed, study.lambdas, study.data_root) == (7, ["0.1", "0.004"], Path("/d"))


def test_a_phase_that_trains_nothing_is_refused() -> None:
    """Its lambdas have been taken out of `lambdas`, which alone is no error."""
    study = changed("phases", [["0.004"], ["0.0016", "0.015"]])
    assert len(config.validate(study, "my.yaml").runs()) == 4
    assert problem(study | {"phase": 1}) == "phase: no arm has a lambda of phases 1 to 1"


def test_a_null_in_an_arms_recipe_is_the_studys() -> None:
    study = config.validate(changed("arms/taco/training", {"crop": None, "batch": 2}), "my.yaml")
    assert study.recipe("taco") == study.training.model_copy(update={"batch": 2})


def test_an_arm_of_another_is_that_arm_in_all_but_what_it_says_itself() -> None:
    taco = DEMO["arms"]["taco"] | {
        "description": "whole",
        "baseline": "image-only",
        "training": {"export_epochs": [10], "batch": 2},
        "extra_seeds": {"0.0016": [7], "0.015": [8]},
    }
    export = {"of": {"arm": "taco", "epoch": 10}}
    # In any order: one may stand before the arm that it is taken from.
    arms = {"short": export | {"lambdas": ["0.015"]}, "all": export} | DEMO["arms"] | {"taco": taco}
    study = config.validate(DEMO | {"arms": arms}, "my.yaml")
    assert list(study.arms) == list(arms)
    short, whole = study.arms["short"], study.arms["all"]
    assert (short.text, short.captions) == (taco["text"], taco["captions"])
    assert study.recipe("short") == study.recipe("taco")
    assert (short.description, short.baseline) == ("", None)
    assert (short.lambdas, short.extra_seeds) == (["0.015"], {"0.015": [8]})
    assert (whole.lambdas, whole.extra_seeds) == (None, taco["extra_seeds"])
