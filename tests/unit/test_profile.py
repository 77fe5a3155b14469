"""What a profile of Snakemake asks for, as other commands read it."""

from pathlib import Path

import pytest

from tacolab.cluster.profile import Profile
from tacolab.errors import UserError

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


# What Snakemake 9.27 itself shows of a job, for each way of writing it.
@pytest.mark.parametrize(
    ("written_as", "name", "value"),
    [
        ("runtime: 90", "runtime", 90),
        ("runtime: 2d", "runtime", 2880),
        ('runtime: "48h"', "runtime", 2880),
        ("runtime: 2 days", "runtime", 2880),
        ("mem: 24GB", "mem_mb", 24000),
        ("mem: 24 GiB", "mem_mb", 25770),
        ('mem: "24000"', "mem_mb", 24000),
        ("mem_mib: 1000", "mem_mb", 1048),
        ("mem_mb: attempt * 24000", "mem_mb", 24000),
        ("mem_mb: threads * 4000", "mem_mb", 8000),
        ("slurm_partition: gpu-long", "slurm_partition", "gpu-long"),
        ('slurm_partition: "gpu,gpu-old"', "slurm_partition", "gpu,gpu-old"),
        ("gpu_model: v100", "gpu_model", "v100"),
    ],
)
def test_resources_are_read_as_snakemake_reads_them(
    tmp_path: Path, written_as: str, name: str, value: object
) -> None:
    text = "default-resources: {mem_mb: 8000}\nset-threads: {train: 2}\nset-resources:\n  train:\n"
    assert written(tmp_path, f"{text}    {written_as}").resources("train")[name] == value


@pytest.mark.parametrize(
    ("written_as", "remedy"),
    [
        ('mem_mb: "90000"', "write a number without quotes, or mem: 24GB"),
        ("mem_mb: 1.5e4", "write a number without quotes"),
        ('gpu: "v100:1"', "gpu_model: NAME"),
        ('gpu: "1"', "write a number without quotes"),
        ('runtime: "2-00:00:00"', "write minutes, or a time such as 2d or 48h"),
        ("runtime: yes", "write minutes"),
        ("mem: lots", "mem: 24GB"),
        ("{mem: 1GB, mem_mb: 1000}", "cannot be simultaneously provided"),
        ("{gpu: -1}", "not a positive integer"),
        ("{nodes: 1/0}", "write a number"),
    ],
)
def test_what_snakemake_or_sbatch_would_refuse_is_named(
    tmp_path: Path, written_as: str, remedy: str
) -> None:
    profile = written(tmp_path, f"set-resources:\n  train:\n    {written_as}")
    with pytest.raises(UserError) as raised:
        profile.resources("train")
    message = str(raised.value)
    assert f"{profile.file}: train: " in message and remedy in message and "\n" not in message


def test_expressions_on_wildcards_are_evaluated_for_each_job(tmp_path: Path) -> None:
    profile = written(
        tmp_path,
        "set-resources:\n  timing:\n    slurm_partition: \"'new' if wildcards.machine == 'a100' "
        "else 'old'\"\n    mem_mb: 2 * input.size_mb",
    )
    asked = [profile.resources("timing", wildcards={"machine": m}) for m in ("a100", "v100")]
    assert [job["slurm_partition"] for job in asked] == ["new", "old"]
    # What only the inputs would tell, or nothing here, is left out.
    assert "mem_mb" not in asked[0] and "slurm_partition" not in profile.resources("timing")


def test_a_profile_may_be_named_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("set-threads: {train: 3}")
    assert Profile.read(tmp_path / "mine.yaml").threads("train") == 3


def test_lists_of_assignments_are_profiles_too(tmp_path: Path) -> None:
    profile = written(
        tmp_path,
        "default-resources: [runtime=2h, \"slurm_partition='gpu'\"]\n"
        "set-resources: ['train:mem=3GB']\nset-threads: [train=3]",
    )
    asked = profile.resources("train", needed=["slurm_partition", "runtime", "mem_mb"])
    assert (asked["slurm_partition"], asked["runtime"], asked["mem_mb"]) == ("gpu", 120, 3000)
    assert profile.threads("train") == 3 and profile.rules == ["train"]


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


@pytest.mark.parametrize(
    ("number", "snakemake"), [("020", "16"), ("4:00", "240"), ("1:30.5", "90.5"), ("-010", "-8")]
)
def test_numbers_that_snakemake_reads_as_others_are_refused(
    tmp_path: Path, number: str, snakemake: str
) -> None:
    """A profile is YAML 1.1, whatever a config is."""
    with pytest.raises(UserError, match=rf"{number} is {snakemake} for Snakemake; write it so"):
        written(tmp_path, f"default-resources: {{runtime: {number}}}")


def test_all_else_in_a_profile_is_read_as_snakemake_reads_it(tmp_path: Path) -> None:
    text = "keep-going: yes\nretries: 1_0\ncores: 0x10\nset-threads: {train: 8}"
    profile = written(tmp_path, text)
    names = ("keep-going", "retries", "cores")
    assert [profile.options[name] for name in names] == ["True", "10", "16"]
    assert profile.threads("train") == 8
