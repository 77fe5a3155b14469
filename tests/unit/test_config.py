"""Every wrong config gives one line: file, path of the key, what is wrong, the nearest name."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from snakemake.cli import parse_config

from tacolab import config
from tacolab.config import Study
from tacolab.errors import UserError

CONFIG = Path(__file__).parents[2] / "config"
COMMITTED = ["study.yaml", "demo.yaml", "mini.yaml"]
DEMO = yaml.safe_load((CONFIG / "demo.yaml").read_text())
# The numbers that messages below repeat; the demo may choose others.
DEMO |= {
    "lambdas": ["0.0016", "0.015"],
    "codec": {"N": 32, "M": 48, "groups": [4, 4, 8, 8, 24]},
    "training": {"dataset": "photos-train", "epochs": 60, "crop": 128},
}
DEMO["arms"] = {name: DEMO["arms"][name] for name in ("taco", "image-only")}
DEMO["datasets"]["kodak"] = {"kind": "folder", "images": "k", "list": "k/S", "min_side": 128}
DEMO["captions"]["released"] = {"kind": "published", "files": {"kodak": "k/captions.json"}}
DEMO["captions"]["shuffled"] = {"kind": "shuffled"}
DEMO["weights"] = {"tfidf": False, "noun_heads": False, "entities": False}
GONE = object()


def changed(path: str, value: Any) -> dict[str, Any]:
    """The demo with one place changed, `/` between keys; GONE removes it."""
    study = copy.deepcopy(DEMO)
    *parents, last = path.split("/")
    place: Any = study
    for key in parents:
        place = place[key]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return study


def problem(study: Any) -> str:
    """The one line that a wrong study gives."""
    with pytest.raises(UserError) as caught:
        config.validate(study, "my.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("my.yaml: ")
    assert "function-" not in message  # pydantic's own names are nobody's
    return message.removeprefix("my.yaml: ")


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
        "weights: with tfidf, noun_heads and entities off no token of arm 'taco' counts more",
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
    ("content", "message"),
    [
        (b"", "not a study: a mapping of keys is needed"),
        (b"- a\n- b\n", "not a study: a mapping of keys is needed"),
        (b"title: [unclosed\n", "not valid YAML: while parsing"),
        (b"title: \xff\xfe\n", "not valid YAML: 'utf-8' codec"),
        (b"title: " + b"[" * 100_000, "not valid YAML: brackets within brackets, hundreds deep"),
        (b"lambdas: !!set {a}\n", "not valid YAML: could not determine a constructor for the tag"),
        (b"title: !!int many\n", "not valid YAML: invalid literal for int()"),
        (b"? [a]\n: b\n", "not valid YAML: a list or mapping as a key"),
    ],
)
def test_a_file_that_is_no_study_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        config.load(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


DEEP = '{"title": ' + "[" * 100_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (DEEP, "not JSON (brackets within brackets, hundreds deep)"),
        ('{"seed": 1, "seed": 2}', "'seed' stands there twice"),
        (r'{"title": "\ud83d x"}', r"\ud83d x"),
        ("seed: 3", "not JSON"),
    ],
    ids=["deep", "twice", "half", "yaml"],
)
def test_a_config_in_json_is_read_as_strictly(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "my.json"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        config.load(path)
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)
    assert str(caught.value).isprintable()


# As YAML 1.2 has them; YAML 1.1 says 16, 90, 90.5, 1000, 3, true, true and a date.
SCALARS = [
    ("020", 20),
    ("-010", -10),
    ("0o20", 16),
    ("0x1F", 31),
    ("+5", 5),
    ("1:30", "1:30"),
    ("1:30.5", "1:30.5"),
    ("1_000", "1_000"),
    ("0b11", "0b11"),
    ("08", 8),
    ("yes", "yes"),
    ("Off", "Off"),
    ("2020-01-02", "2020-01-02"),
    ("1e3", 1000.0),
    ("1.", 1.0),
    (".5", 0.5),
    ("-.inf", float("-inf")),
    ("True", True),
    ("false", False),
    ("~", None),
    ("", None),
    ("NULL", None),
    ("nil", "nil"),
    ("'020'", "020"),
    ("!!str 020", "020"),
    ("=", "="),
    ("[010, n]", [10, "n"]),
    ("{on: 07}", {"on": 7}),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_yaml_is_that_of_version_1_2(tmp_path: Path, text: str, value: Any) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(f"title: {text}\n")
    for read in (config.read(path), config.merged(path, [f"note={text}"])):
        assert read["title"] == value and type(read["title"]) is type(value)
    assert config.merged(path, [f"note={text}"])["note"] == value


@pytest.mark.parametrize(
    ("key", "text", "outcome"),
    [
        ("epochs", "020", 20),
        ("epochs", "1:30", "training.epochs: must be a whole number, not '1:30'"),
        ("epochs", "2020-01-02", "training.epochs: must be a whole number, not '2020-01-02'"),
        ("epochs", "yes", "training.epochs: must be a whole number, not 'yes'"),
        ("learning_rate", "1e-4", 1e-4),
        ("learning_rate", "1:30.5", "training.learning_rate: must be a number, not '1:30.5'"),
        ("learning_rate", ".nan", "training.learning_rate: must be a finite number"),
    ],
)
def test_numbers_of_a_study_are_what_stands_there(
    tmp_path: Path, key: str, text: str, outcome: Any
) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump(DEMO | {"training": DEMO["training"] | {key: "HERE"}}))
    path.write_text(path.read_text().replace("HERE", text))
    if isinstance(outcome, str):
        with pytest.raises(UserError, match=re.escape(outcome)):
            config.load(path)
    else:
        assert getattr(config.load(path).training, key) == outcome


def test_words_of_truth_are_text_where_text_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump(changed("captions/word", {"kind": "constant", "text": "HERE"})))
    path.write_text(path.read_text().replace("HERE", "no"))
    word = config.load(path).captions["word"]
    assert isinstance(word, config.Constant) and word.text == "no"


def test_the_workflow_reads_what_the_commands_read(tmp_path: Path) -> None:
    """Snakemake's own reading of the files is none of ours; --config it has parsed before."""
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("seed: 010\ntitle: yes\nprotocol: {margins: {fid: 1:30}, examples: 02}\n")
    second.write_text("protocol: {examples: 07}\nnote: 2020-01-02\n")
    options = parse_config(["phase=null", "data_root=/d", "codec={N: 010, M: null}"])
    assert config.merged_by_snakemake([first, second], options, "here") == {
        "seed": 10,
        "title": "yes",
        "protocol": {"margins": {"fid": "1:30"}, "examples": 7},
        "note": "2020-01-02",
        "phase": None,
        "data_root": "/d",
        "codec": {"N": "010", "M": None},
    }


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "HOME": "/home/me",
        "SCRATCH": "/fast",
        "EMPTY": "",
        "TILDE": "~/x",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("UNSET", raising=False)


PLACES = [
    "data_root",
    "datasets/kodak/images",
    "datasets/kodak/list",
    "captions/released/files/kodak",
    "encoders/minilm/model",
    "training/joint_model",
    "protocol/cmmd_model",
    "weights/spacy",
]


def resolved(study: Study, path: str) -> str:
    """What the study means at a place of `changed`."""
    place: Any = study
    for key in path.split("/"):
        place = place[key] if isinstance(place, dict) else getattr(place, key)
    return str(getattr(place, "path", place))


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("~/data", "/home/me/data"),
        ("$SCRATCH/data", "/fast/data"),
        ("${SCRATCH}/$SCRATCH", "/fast//fast"),
        ("$TILDE/y", "/home/me/x/y"),
        ("a~b/c$/d", "a~b/c$/d"),
    ],
)
def test_home_and_variables_are_expanded_wherever_a_path_stands(
    path: str, written: str, meant: str
) -> None:
    found = resolved(config.validate(changed(path, written), "my.yaml"), path)
    assert Path(found) == Path(meant)


def test_a_folder_named_like_the_home_can_be_named() -> None:
    """Earlier versions made one."""
    assert str(config.validate(changed("data_root", "./~/data"), "my.yaml").data_root) == "~/data"


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("$UNSET/data", "$UNSET is not set; set it, or write the path out"),
        ("${UNSET}", "$UNSET is not set"),
        ("$EMPTY/data", "$EMPTY is not set"),
        ("${SCRATCH:-/tmp}/x", "of '$', only $NAME and ${NAME} are understood"),
        ("$(pwd)/x", "of '$', only $NAME and ${NAME} are understood"),
        ("${SCRATCH", "of '$', only $NAME and ${NAME} are understood"),
        ("~nobody-of-this-name/x", "nobody's home is known by that name"),
        ("a\0b", "no name holds a null character"),
    ],
)
def test_what_names_no_path_is_one_line(path: str, written: str, why: str) -> None:
    message = problem(changed(path, written))
    assert message.startswith(path.replace("/", ".")) and why in message


@pytest.mark.usefixtures("environment")
def test_weight_files_and_captioners_are_expanded(tmp_path: Path) -> None:
    study = copy.deepcopy(DEMO)
    study["captions"] |= {"ofa": {"kind": "ofa", "model": "~/ofa"}, "chat": {"kind": "gpt4o"}}
    study["captions"]["blip"] = {"kind": "hf", "model": "$SCRATCH/blip"}
    arm = {k: v for k, v in study["arms"]["taco"].items() if k != "training"}
    study["arms"]["theirs"] = arm | {"weights": {"0.0016": "$SCRATCH/w.pth"}}
    known = config.validate(study, "my.yaml")
    assert known.arms["theirs"].weights["0.0016"].path == Path("/fast/w.pth")
    models = [known.captions[name].model for name in ("ofa", "blip", "chat")]  # type: ignore[union-attr]
    assert models == ["/home/me/ofa", "/fast/blip", "gpt-4o-2024-11-20"]


@pytest.mark.usefixtures("environment")
def test_jobs_get_the_folder_that_was_meant_where_they_were_planned(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("data_root: $SCRATCH/data\n")
    assert config.merged(path)["data_root"] == "/fast/data"
    assert config.merged(path, ["data_root=~/d"])["data_root"] == "/home/me/d"
    options = {"data_root": "$SCRATCH/d"}
    assert config.merged_by_snakemake([path], options, "here")["data_root"] == "/fast/d"
    with pytest.raises(UserError, match=r"here: data_root: '\$UNSET': \$UNSET is not set"):
        config.merged_by_snakemake([path], {"data_root": "$UNSET"}, "here")


def test_a_missing_file_is_named_with_the_option_that_names_another(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: No such file or directory; name a.*--config"):
        config.load(tmp_path / "none.yaml")


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


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_configs_load_and_validate_against_the_schema(name: str) -> None:
    path = CONFIG / name
    assert isinstance(config.load(path), Study)
    first = path.read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=study.schema.json"
    # What an editor does with it: an error here would underline a correct config.
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(config.schema()))


def test_the_committed_schema_is_that_of_the_models() -> None:
    committed = (CONFIG / "study.schema.json").read_text()
    assert committed == config.schema(), "config.py has changed: run `make schema`"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("lambda", 1),
        ("lambdas", ["4e-4"]),
        ("training/crop", 100),
        ("arms/taco/training", {"crop": 100}),
        ("arms/taco/captions", 3),
        ("datasets/photos/kind", "foldr"),
        ("datasets/kodak/list", 3),
    ],
)
def test_the_schema_finds_slips_while_they_are_typed(path: str, value: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed(path, value), json.loads(config.schema()))


def test_every_key_says_what_it_is() -> None:
    # Kinds and counts explain themselves; what is measured in something does not.
    training = json.loads(config.schema())["$defs"]["Training"]["properties"]
    for name in ("batch", "crop", "validation_images"):
        assert training[name]["description"]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("human"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything in plain data."""
    inner = node.items() if isinstance(node, dict) else ()
    inner = enumerate(node) if isinstance(node, list) else inner
    return [path] * bool(path) + [p for key, value in inner for p in places(value, (*path, key))]


@given(
    place=st.sampled_from(places(DEMO)),
    junk=JUNK,
    spoil=st.sampled_from(["replace", "add", "rename"]),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_junk_anywhere_is_a_user_error_or_a_study(
    place: tuple[Any, ...], junk: Any, spoil: str
) -> None:
    study = copy.deepcopy(DEMO)
    *parents, last = place
    holder: Any = study
    for key in parents:
        holder = holder[key]
    spoilers: dict[str, Callable[[], Any]] = {
        "replace": lambda: holder.__setitem__(last, junk),
        "add": lambda: holder.__setitem__(str(junk), junk) if isinstance(holder, dict) else None,
        "rename": lambda: (
            holder.__setitem__(str(junk), holder.pop(last)) if isinstance(holder, dict) else None
        ),
    }
    spoilers[spoil]()
    try:
        assert isinstance(config.validate(study, "my.yaml"), Study)
    except UserError as error:
        assert len(str(error).splitlines()) == 1


def test_half_a_character_is_refused_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text('title: "\\ud83d x"\n')
    with pytest.raises(UserError, match=r"'\\ud83d x' has half a character .*line 1, column 8"):
        config.load(path)


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """YAML would keep the last and lose an arm."""
    path = tmp_path / "twice.yaml"
    path.write_text(
        Path(__file__).parents[2].joinpath("config/demo.yaml").read_text() + "lambdas: ['0.1']\n"
    )
    with pytest.raises(UserError, match="'lambdas' stands there twice"):
        config.load(path)


def test_a_mapping_as_a_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("? {a: b}\n: c\n")
    with pytest.raises(
        UserError, match=r"study\.yaml: not valid YAML: .*a list or mapping as a key"
    ):
        config.read(tmp_path / "study.yaml")
