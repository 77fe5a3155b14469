"""What the committed configs plan, and what a user sees when something is missing."""

import contextlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import authors_file
from conftest import DEMO, ROOT, Project
from tacolab.config import load
from tacolab.plan import Plan

SHARED = ROOT.parent / "shared" / "data"
PUBLISHED = ("0.0008", "0.0016", "0.004", "0.009", "0.015")


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
        *(f"weights/taco/{lmbda}.pth.tar" for lmbda in PUBLISHED),
    ):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def test_study_is_the_default_and_planned_whole(clone: Project, tmp_path: Path) -> None:
    """Every arm of the study at its lambdas; COCO, CLIC and Kodak."""
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
    # By arm: models, and epochs of other arms, times data sets with own captions and controls.
    three = 3 * (1 + 3)  # own captions; empty, constant, shuffled
    cut = 3 * 3  # three lengths
    evaluations = {
        "taco": (6 + 2) * three,
        "taco@30": (6 + 2) * three,
        "taco@27": 1 * three,
        "image-only": 6 * 3,
        "context": (6 + 2) * three,
        "context-long": 1 * (three + cut),
        "human-long": 1 * three,
        "linear": 6 * three,
        "keywords": 1 * three,
        "combined": 1 * three,
        "published": 5 * three,
    }
    trained = 8 + 6 + 8 + 1 + 1 + 6 + 1 + 1
    wanted = {
        "data": 4,
        "train": trained,
        "imported": 5,
        "code": sum(evaluations.values()),
        "metrics": sum(evaluations.values()),
        "originals": 3,
        # With own captions, on three data sets.
        "distribution": 3 * (trained + 8 + 1 + 5),
        "anchors": 9,
        "timing": 2,
    }
    assert {rule: jobs[rule] for rule in wanted} == wanted


def test_a_phase_limits_the_workflow(clone: Project) -> None:
    phases = ("--config", 'phases=[["0.015"], ["0.004"]]')
    assert clone.planned(*phases)["train"] == 6
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


def test_a_warm_start_is_planned_after_its_model(clone: Project) -> None:
    """An arm starts from another's model: its training has that model's files as input."""
    warm = 'training: {start: {arm: image-only, lmbda: "0.015"}}\n'
    arm = f'  again:\n    text: null\n    captions: human\n    lambdas: ["0.004"]\n    {warm}'
    jobs = clone.planned()
    clone.edit(DEMO, "protocol:\n", f"{arm}\nprotocol:\n")
    assert clone.planned()["train"] == jobs["train"] + 1
    with contextlib.chdir(clone.folder):
        plan = Plan(load(Path(DEMO)))
    model = plan.find("train", arm="again")
    dry = clone.snakemake("--dry-run", str(model.path))
    assert dry.returncode == 0, dry.stderr
    trained = re.findall(r"training (\S+) at lambda", dry.stdout)
    assert trained == ["image-only", "again"]


def test_token_weights_are_planned_for_what_an_arm_reads(clone: Project) -> None:
    """One vocabulary of the training captions; a table for these, the test set and its control."""
    more = clone.lacking()
    assert (more.pop("vocabulary"), more.pop("token_weights")) == (1, 3)
    clone.edit(DEMO, "arms:\n", "token_weights: {tfidf: false}\narms:\n")
    less = clone.lacking()
    assert "vocabulary" not in less and less["token_weights"] == 3
    clone.edit(DEMO, "token_weighting: pooled", "token_weighting: none")
    assert clone.lacking() == more


def test_study_without_data_names_data_root(clone: Project) -> None:
    dry = clone.run("snakemake", "-n", "--profile", "profiles/local")
    assert dry.returncode == 2
    lines = [line for line in dry.stderr.splitlines() if not line.startswith("Using profile")]
    assert len(lines) == 1 and lines[0].startswith("tacolab: data_root: 'data' lacks")
    assert "--config data_root=" in lines[0]


def test_wrong_config_is_one_line_and_exit_2(clone: Project) -> None:
    """Other mistakes are the business of unit tests."""
    path = clone.folder / DEMO
    path.write_text(path.read_text().replace("captions: human", "captoins: human", 1))
    dry = clone.snakemake("-n")
    lines = [line for line in dry.stderr.splitlines() if not line.startswith("Using profile")]
    assert dry.returncode == 2
    assert len(lines) == 1 and lines[0].startswith("tacolab: config/demo.yaml: ")
    assert "did you mean 'captions'" in lines[0]


def test_jobs_keep_the_config_they_were_planned_with(clone: Project) -> None:
    """The merged config lies in results/ under a name of its content, whatever text it holds."""
    clone.edit("config/demo.yaml", "title: tacolab demo", "title: démo 🙂")
    run = clone.snakemake("--until", "data", "--config", "seed=7")
    assert run.returncode == 0, run.stderr
    (snapshot,) = (clone.folder / "results/config").glob("*.json")
    demo = yaml.safe_load((clone.folder / "config/demo.yaml").read_text())
    assert json.loads(snapshot.read_text()) == demo | {"seed": 7}
    status = clone.run("tacolab", "status", "-c", str(snapshot))
    assert status.returncode == 0 and "2 of 42 done" in status.stdout


def test_jobs_see_the_values_that_commands_see(
    clone: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of YAML 1.2, and folders as they were meant where the study was started."""
    monkeypatch.setenv("SCRATCH", "/fast")
    clone.edit(DEMO, "epochs: 16\n", "epochs: 016\n")
    clone.edit(DEMO, "title: tacolab demo\n", "title: 1:30\n")
    run = clone.snakemake("--until", "data", "--config", "data_root=$SCRATCH/x", "phase=null")
    assert run.returncode == 0, run.stderr
    (snapshot,) = (clone.folder / "results/config").glob("*.json")
    said = json.loads(snapshot.read_text())
    assert (said["title"], said["training"]["epochs"]) == ("1:30", 16)
    assert (said["data_root"], said["phase"]) == ("/fast/x", None)


def test_a_dry_run_writes_nothing_and_needs_no_room(clone: Project) -> None:
    """But for what Snakemake notes of itself; a real one says in one line what is wrong."""

    def files() -> set[Path]:
        found = (path.relative_to(clone.folder) for path in clone.folder.rglob("*"))
        return {path for path in found if not {".snakemake", "__pycache__"} & set(path.parts)}

    before = files()
    assert clone.planned()["train"] == 6
    assert files() == before
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount a disk")
    for options, place, message in (
        ("ro", "results", "the disk is read-only; mount it for writing"),
        ("size=4k", "results", "the disk or the quota is full: "),
        ("ro", ".snakemake", ".snakemake: the disk is read-only"),
    ):
        script = f'mount -t tmpfs -o {options} none {place} && exec "$0" "$@"'
        if "size" in options:
            script = script.replace("&&", f"&& head -c 4k /dev/zero > {place}/full &&")
        within = ("unshare", "--mount", "sh", "-c", script)
        command = ("snakemake", "--profile", "profiles/local", "--configfile", DEMO)
        if (options, place) == ("ro", "results"):
            assert clone.run(*within, *command, "-n").returncode == 0
        run = clone.run(*within, *command)
        assert run.returncode == 1
        (line,) = (line for line in run.stderr.splitlines() if line.startswith("tacolab: "))
        assert message in line and "the same command goes on" in line
        assert "Traceback" not in run.stderr and "Logging error" not in run.stderr


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
    study = yaml.safe_load((clone.folder / "config/mini.yaml").read_text())
    weights = root / study["arms"]["published"]["checkpoints"]["0.004"]
    authors_file.write(weights, text_dim=384, **study["codec"])
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
    arm = 'published: {text: minilm, captions: human, checkpoints: {"0.004": weights/taco.pth.tar}}'
    timing = 'timing: {machines: {here: "", "there": GPU}}'
    clone.edit(DEMO, "\nprotocol:\n", f"  {arm}\n\n{timing}\n\nprotocol:\n")
    refused = clone.snakemake("--dry-run")
    assert refused.returncode == 2
    assert "data/weights/taco.pth.tar (where from: docs/data.md); set `data_root" in refused.stderr
    (clone.folder / "data/weights").mkdir(parents=True)
    (clone.folder / "data/weights/taco.pth.tar").touch()
    jobs = clone.planned()
    assert (jobs["imported"], jobs["timing"], jobs["train"]) == (1, 2, 6)
