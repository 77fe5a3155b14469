"""Config files: what is YAML or JSON here, and what is refused where it stands."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.cli import parse_config

from config_study import DEMO, changed
from tacolab import config
from tacolab.errors import UserError


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
