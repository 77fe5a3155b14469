"""What the committed configs plan, and what a user sees when something is missing."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from conftest import DEMO, ROOT, Project

SHARED = ROOT.parent / "shared" / "data"


def fake_data(root: Path) -> Path:
    """The places that the study needs; a dry run opens nothing."""
    for folder in ("coco/train2014", "coco/val2014", "coco/annotations", "clic", "kodak"):
        (root / folder).mkdir(parents=True)
    for file in (
        "coco/annotations/captions_train2014.json",
        "coco/annotations/captions_val2014.json",
        "coco/restval_30504.json",
        "clic_captions.json",
        "kodak/SHA256SUMS",
        "kodak/captions.json",
    ):
        (root / file).touch()
    return root


def test_study_is_the_default_and_planned_whole(clone: Project, tmp_path: Path) -> None:
    """Two arms, six lambdas, two more seeds of taco at one; COCO, CLIC and Kodak."""
    root = fake_data(tmp_path / "data")
    dry = clone.run(
        *("snakemake", "-n", "--profile", "profiles/local", "--config", f"data_root={root}")
    )
    assert dry.returncode == 0, dry.stderr
    jobs = {
        line.split()[0]: int(line.split()[1])
        for line in dry.stdout.splitlines()
        if len(line.split()) == 2 and line.split()[1].isdigit()
    }
    # taco: 8 models x (COCO own + CLIC and Kodak with own and three controls); image-only: 6 x 3.
    evaluations = 8 * (1 + 4 + 4) + 6 * 3
    assert {rule: jobs[rule] for rule in ("data", "train", "code", "metrics", "anchors")} == {
        "data": 4,
        "train": 14,
        "code": evaluations,
        "metrics": evaluations,
        "anchors": 6,
    }


def test_a_phase_limits_the_workflow(clone: Project) -> None:
    phases = ("--config", 'phases=[["0.015"], ["0.004"]]')
    assert clone.planned(*phases)["train"] == 4
    first = clone.planned(*phases, "phase=1")
    assert (first["train"], first["metrics"]) == (2, 3)
    # What `tacolab plan` counts before it runs.
    options = ("--set", phases[1], "--set", "phase=1", "--json")
    told = json.loads(clone.run("tacolab", "plan", "-c", DEMO, *options).stdout)["total"]
    assert told["models"] == first.pop("train")
    assert told["evaluations"] == first.pop("code") + first.pop("metrics")
    assert told["other_jobs"] == sum(first.values())
    dry = clone.snakemake("-n", *phases, "phase=3")
    assert dry.returncode == 2
    assert "phase: there is no phase 3: `phases` has 2" in dry.stderr


def test_token_weights_are_planned_for_what_an_arm_reads(clone: Project) -> None:
    """One vocabulary of the training captions; a table for these, the test set and its control."""
    plain = clone.planned()
    arm = "arms:\n  keywords: {text: minilm, captions: human, token_weighting: tokens}\n"
    clone.edit("config/demo.yaml", "arms:\n", arm)
    more = clone.planned()
    assert "weights" not in plain
    assert (more.pop("vocabulary"), more.pop("weights")) == (1, 3)
    # Two lambdas, each coded with its own and with empty captions.
    assert {rule: more[rule] - plain[rule] for rule in more if more[rule] != plain[rule]} == {
        "train": 2,
        "code": 4,
        "metrics": 4,
    }
    clone.edit("config/demo.yaml", "arms:\n", "weights: {tfidf: false}\narms:\n")
    less = clone.planned()
    assert "vocabulary" not in less and less["weights"] == 3


def test_study_without_data_names_data_root(clone: Project) -> None:
    dry = clone.run("snakemake", "-n", "--profile", "profiles/local")
    assert dry.returncode == 2
    lines = [line for line in dry.stderr.splitlines() if not line.startswith("Using profile")]
    assert len(lines) == 1 and lines[0].startswith("tacolab: data_root: 'data' lacks")
    assert "--config data_root=" in lines[0]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("captions: human", "captoins: human", "did you mean 'captions'"),
        ('lambdas: ["0.004"', 'lambdas: ["-1"', "lambda must be a number above 0"),
        ("baseline: taco", "baseline: tacos", "did you mean 'taco'"),
    ],
)
def test_wrong_config_is_one_line_and_exit_2(
    clone: Project, old: str, new: str, expected: str
) -> None:
    path = clone.folder / "config/demo.yaml"
    path.write_text(path.read_text().replace(old, new, 1))
    dry = clone.snakemake("-n")
    lines = [line for line in dry.stderr.splitlines() if not line.startswith("Using profile")]
    assert dry.returncode == 2
    assert len(lines) == 1 and lines[0].startswith("tacolab: config/demo.yaml: ")
    assert expected in lines[0]


def test_jobs_keep_the_config_they_were_planned_with(clone: Project) -> None:
    """The merged config lies in results/ under a name of its content."""
    assert clone.planned("--config", "seed=7")["train"] == 4
    (snapshot,) = (clone.folder / "results/config").glob("*.json")
    assert json.loads(snapshot.read_text())["seed"] == 7
    demo = yaml.safe_load((clone.folder / "config/demo.yaml").read_text())
    assert json.loads(snapshot.read_text()) == demo | {"seed": 7}
    torn = snapshot.read_bytes()[:300]
    snapshot.write_bytes(torn)
    assert clone.planned("--config", "seed=7")["train"] == 4
    assert json.loads(snapshot.read_text())["seed"] == 7


def test_jobs_read_any_text_as_it_was_written(clone: Project) -> None:
    clone.edit("config/demo.yaml", "title: tacolab demo", "title: démo 🙂")
    assert clone.planned()["train"] == 4
    (snapshot,) = (clone.folder / "results/config").glob("*.json")
    status = clone.run("tacolab", "status", "-c", str(snapshot))
    assert status.returncode == 0 and "0 of 24 done" in status.stdout


def test_a_data_set_that_changed_is_named_before_training(clone: Project, tmp_path: Path) -> None:
    """A truncated image stops the workflow at the data stage, with its name."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the COCO subset and Kodak in {SHARED}")
    root = tmp_path / "data"
    for path in SHARED.rglob("*"):
        if path.is_file():
            target = root / path.relative_to(SHARED)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    image = next((root / "coco/train2014").iterdir())
    image.write_bytes(image.read_bytes()[:5000])
    run = clone.snakemake(
        *("--until", "train"), "--config", f"data_root={root}", config="config/mini.yaml"
    )
    assert run.returncode == 1
    assert image.name in run.stdout + run.stderr
    assert not (clone.folder / "results/models").exists()


def test_a_ready_weight_file_is_imported_and_timing_planned(clone: Project) -> None:
    """Neither wants data; a file that is not there is named before anything starts."""
    arm = 'published: {text: minilm, captions: human, weights: {"0.004": weights/taco.pth.tar}}'
    timing = 'timing: {machines: {here: "", "there": GPU}}'
    clone.edit(DEMO, "\nprotocol:\n", f"  {arm}\n\n{timing}\n\nprotocol:\n")
    refused = clone.snakemake("--dry-run")
    assert refused.returncode == 2
    assert "data/weights/taco.pth.tar (where from: docs/data.md); set `data_root" in refused.stderr
    (clone.folder / "data/weights").mkdir(parents=True)
    (clone.folder / "data/weights/taco.pth.tar").touch()
    jobs = clone.planned()
    assert (jobs["imported"], jobs["timing"], jobs["train"]) == (1, 2, 4)
