"""Paths of a config: home and variables are expanded, and a missing file is named."""

import copy
from pathlib import Path
from typing import Any

import pytest

from config_study import DEMO, changed, problem
from tacolab import config
from tacolab.config import Study
from tacolab.errors import UserError


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
    "token_weights/spacy",
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
        ("~nobody-of-this-name/x", "no user of that name has a home here"),
        ("a\0b", "it contains a null character"),
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
    study["arms"]["theirs"] = arm | {"checkpoints": {"0.0016": "$SCRATCH/w.pth"}}
    known = config.validate(study, "my.yaml")
    assert known.arms["theirs"].checkpoints["0.0016"].path == Path("/fast/w.pth")
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
