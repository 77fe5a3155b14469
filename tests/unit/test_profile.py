"""What a profile of Snakemake asks for, as other commands read it."""

from pathlib import Path

import pytest

from tacolab.errors import UserError
from tacolab.profile import Profile

SLURM = Path(__file__).parents[2] / "profiles/slurm"


def written(folder: Path, text: str) -> Profile:
    (folder / "config.yaml").write_text(text)
    return Profile.read(folder)


def test_a_training_of_the_slurm_profile() -> None:
    profile = Profile.read(SLURM)
    asked = profile.resources("train")
    assert asked["slurm_extra"] == "--signal=URG@300 --open-mode=append"  # without inner quotes
    assert (asked["runtime"], asked["gpu"], asked["stage_to"]) == (2880, 1, "$TMPDIR")
    assert profile.threads("train") == 4 and profile.threads("data") == 1


def test_every_rule_that_computes_has_a_gpu_there() -> None:
    profile = Profile.read(SLURM)
    assert all(profile.resources(rule)["gpu"] for rule in ("train", "code", "metrics", "anchors"))


@pytest.mark.parametrize(("written_as", "minutes"), [("90", 90), ("2d", 2880), ("3h", 180)])
def test_time_in_any_unit_is_minutes(tmp_path: Path, written_as: str, minutes: int) -> None:
    profile = written(tmp_path, f"set-resources:\n  train: {{runtime: {written_as}}}")
    assert profile.resources("train")["runtime"] == minutes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("set-resources: [a=1]", "config.yaml: set-resources: write a mapping"),
        ("set-resources: {train: [gpu=1]}", "config.yaml: set-resources: train: write a mapping"),
        ("default-resources: {runtime: soon}", "config.yaml: train: runtime: soon: write minutes"),
        ("cores: all", "config.yaml: train has no runtime, which a job of SLURM needs"),
    ],
)
def test_what_cannot_be_understood_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        written(tmp_path, text).resources("train", needed=["runtime"])
