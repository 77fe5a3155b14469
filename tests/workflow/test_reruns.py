"""What runs again after which edit, counted on the real DAG of the finished demo."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from conftest import DEMO, Project

pytestmark = pytest.mark.slow


def results(project: Project) -> set[Path]:
    """Models and evaluations that are there."""
    folder = project.folder / "results"
    return {path.relative_to(folder) for path in folder.glob("*/*/*/*/*/*.safetensors")} | {
        path.relative_to(folder) for path in folder.glob("evaluation/**/*.parquet")
    }


def image_only(demo: Project, *lambdas: str, captions: Any = "human") -> str:
    """A config of one arm of the demo, so that really running what an edit asks for is short."""
    study = yaml.safe_load((demo.folder / DEMO).read_text())
    study["arms"] = {"image-only": study["arms"]["image-only"] | {"captions": captions}}
    study["protocol"]["baseline"] = "image-only"
    study["lambdas"] = list(lambdas)
    (demo.folder / "config/small.yaml").write_text(yaml.safe_dump(study))
    return "config/small.yaml"


def copy_results(demo: Project, clone: Project) -> None:
    """What the demo has made, and the config that it was made by."""
    shutil.copy(demo.folder / DEMO, clone.folder / DEMO)
    assert demo.run("cp", "-r", "results/.", str(clone.folder / "results")).returncode == 0


def test_nothing_after_a_full_run_and_after_touching_everything(demo: Project) -> None:
    assert demo.planned() == {}
    for path in demo.folder.rglob("*"):
        if ".snakemake" not in path.parts:
            path.touch()
    assert demo.planned() == {}


def test_nothing_after_edits_without_meaning(demo: Project) -> None:
    """All at once: each alone would have to make something."""
    demo.edit("workflow/rules/train.smk", " --attempt {{res", "   --attempt  {{res")
    demo.edit(DEMO, "workers: 0", "workers: 2")
    modules = list((demo.folder / "workflow/tacolab").rglob("*.py"))
    assert len(modules) > 150
    for path in modules:
        docstring, rest = path.read_text().split('"""', 2)[1:]
        path.write_text(f'"""Another text. {docstring}"""\n\n{rest}\n# edited\n')
    for path in [demo.folder / "Snakefile", *(demo.folder / "workflow/rules").iterdir()]:
        path.write_text(path.read_text().replace("\n\n", "\n\n\n") + "\n# edited\n")
    assert demo.planned() == {}


@pytest.mark.parametrize(
    ("module", "planned"),
    [
        ("stages/evaluate/images.py", {"metrics": 12, "anchors": 2, "report": 1}),
        ("readers/pictures.py", {"metrics": 12, "anchors": 2, "report": 1}),
        ("stages/evaluate/score.py", {"metrics": 12, "report": 1}),
        ("stages/evaluate/anchors.py", {"anchors": 2, "report": 1}),
        ("stages/report/figures/style.py", {"report": 1}),
        ("stages/train/loop.py", {}),  # a recipe number
    ],
)
def test_an_edit_plans_what_is_computed_with_it_and_taken_back_nothing(
    demo: Project, module: str, planned: dict[str, int]
) -> None:
    path = demo.folder / "workflow/tacolab" / module
    before = path.read_text()
    path.write_text(f"{before}\nEDITED = True\n")
    assert demo.planned() == planned
    path.write_text(before)
    assert demo.planned() == {}


def test_nothing_in_a_fresh_clone_with_copied_results(demo: Project, clone: Project) -> None:
    copy_results(demo, clone)
    assert not (clone.folder / ".snakemake").exists()
    assert clone.planned() == {}
    # Without Snakemake's memory, as after jobs that ended while no head lived.
    clone.edit("workflow/tacolab/stages/report/layout.py", '"PSNR [dB]"', '"PSNR [decibel]"')
    assert clone.planned() == {"report": 1}
    clone.add_code("workflow/tacolab/stages/evaluate/score.py")
    assert clone.planned() == {"metrics": 12, "report": 1}
    assert clone.planned("report") == {"metrics": 12, "report": 1}
    assert clone.planned("report_now") == {"report_now": 1}
    clone.add_code("workflow/tacolab/stages/evaluate/images.py")  # how originals are cropped
    assert clone.planned() == {"metrics": 12, "anchors": 2, "report": 1}


def test_whole_files_stay_and_half_a_set_is_made_again(demo: Project) -> None:
    evaluation = demo.folder / "results/evaluation"
    codes = next((demo.folder / "results/codes").glob("**/codes.parquet"))
    # As of a job that was killed between its last output and its end.
    name = base64.b64encode(str(codes.relative_to(demo.folder)).encode()).decode()
    (demo.folder / ".snakemake/incomplete").mkdir(exist_ok=True)
    (demo.folder / ".snakemake/incomplete" / name).touch()
    assert demo.planned() == {}
    next(evaluation.glob("*/*/100/*/photos/own.json")).unlink()
    assert demo.planned() == {"metrics": 1}


def test_edited_figures_draw_the_report_only(demo: Project) -> None:
    report = demo.folder / "results/report/latest"
    before = results(demo)
    demo.edit("workflow/tacolab/stages/report/layout.py", '"PSNR [dB]"', '"PSNR [decibel]"')
    assert demo.planned() == {"report": 1}
    assert demo.planned("report") == {"report": 1}
    assert demo.snakemake("report").returncode == 0
    assert "PSNR [decibel]" in (report / "figures/photos-psnr.svg").read_text()
    assert results(demo) == before
    assert demo.planned() == {}


def test_a_redraw_that_fails_leaves_the_old_report(demo: Project) -> None:
    report = demo.folder / "results/report"
    page = (report / "latest/index.html").read_text()
    key = next(
        path.name for path in report.iterdir() if path.is_symlink() and path.name != "latest"
    )
    code = "workflow/tacolab/stages/report/figures/drawing.py"
    demo.edit(code, '(folder / "figures").mkdir()', 'raise ValueError("a slip")')
    assert demo.snakemake().returncode == 1
    for name in ("latest", key):
        assert (report / name / "index.html").read_text() == page
        assert (report / name / "figures/photos-psnr.svg").exists()
    demo.edit(code, 'raise ValueError("a slip")', '(folder / "figures").mkdir(0o777)')
    assert demo.snakemake().returncode == 0
    assert (report / "latest/index.html").read_text() != page  # it names the code
    assert demo.planned() == {}


def test_edited_metric_codes_nothing(demo: Project) -> None:
    small = image_only(demo, "0.004")
    assert demo.planned(config=small) == {"report": 1}
    assert demo.snakemake(config=small).returncode == 0
    demo.edit(
        "workflow/tacolab/quality/metrics.py", "MS_SSIM_MIN_SIDE = 161", "MS_SSIM_MIN_SIDE = 999"
    )
    assert demo.planned() == {"metrics": 12, "anchors": 2, "report": 1}
    status = demo.run("tacolab", "status", "--all", "-c", DEMO).stdout
    assert status.count("missing") == 15
    # Measured in one run, shown in another: the head died, or was told to stop there.
    until = ("--until", "metrics", "anchors")
    assert demo.snakemake(*until, config=small).returncode == 0
    assert demo.planned(config=small) == {"report": 1}
    run = demo.snakemake(config=small)
    assert run.returncode == 0, run.stderr
    evaluation = demo.folder / "results/evaluation"
    paths = [*evaluation.glob("image-only/0.004/**/*.parquet"), *evaluation.glob("anchors/**/*.p*")]
    assert len(paths) == 6  # the old numbers are kept
    edited = [path for path in paths if pd.read_parquet(path)["ms_ssim"].isna().all()]
    assert len(edited) == 3
    assert demo.planned(config=small) == {}
    assert demo.planned("--forcerun", "metrics", config=small) == {"metrics": 1}


def test_a_new_metric_codes_nothing(demo: Project) -> None:
    """FID, asked for when all is coded: only from the stored files, and edited, only it again."""
    codes = {path: path.stat().st_mtime_ns for path in (demo.folder / "results/codes").rglob("*")}
    demo.edit(DEMO, "crop: 192}", "crop: 192, distribution: {fid: images}}")
    assert demo.planned() == {"originals": 1, "distribution": 7, "report": 1}
    small = image_only(demo, "0.004")
    run = demo.snakemake(config=small)
    assert run.returncode == 0, run.stderr
    assert demo.planned(config=small) == {}
    (path,) = (demo.folder / "results/evaluation").glob("**/own.distribution.json")
    summary = json.loads(path.read_text())["summary"]
    assert (summary["fid"], summary["fid_samples"]) == (None, 3)  # of three images
    demo.edit("workflow/tacolab/quality/jackknife.py", "LEVEL = 0.95", "LEVEL = 0.9")
    assert demo.planned(config=small) == {"originals": 1, "distribution": 1, "report": 1}
    assert {path: path.stat().st_mtime_ns for path in codes} == codes


def test_a_finished_study_costs_nothing_and_tells_what_more_would(demo: Project) -> None:
    def told() -> dict[str, Any]:
        return json.loads(demo.run("tacolab", "plan", "-c", DEMO, "--json").stdout)

    total = told()["total"]
    assert (total["models_done"], total["models"], total["gpu_hours"]) == (6, 0, 0)
    assert (total["evaluations"], total["other_jobs"]) == (0, 0)
    demo.edit(DEMO, 'lambdas: ["0.004", "0.015"]', 'lambdas: ["0.004", "0.009", "0.015"]')
    more = told()
    models = (demo.folder / "results/models").glob("*/*/*/*/model.json")
    steps = {json.loads(path.read_text())["steps"] for path in models}
    assert more["total"]["samples"] == 2 * max(steps)  # batches of one; others train half as long
    assert any("measured: mean of 6 finished" in note for note in more["notes"])


def test_an_edited_config_lacks_what_it_means_anew(demo: Project) -> None:
    """Snakemake plans the same; so it does for a raised recipe number."""
    study = (demo.folder / DEMO).read_text()
    start = "start: {bundled: middle}"
    demo.edit(DEMO, start, f"{start}, learning_rate: 0.0005")
    assert demo.lacking() == {"train": 2, "code": 2, "metrics": 2, "report": 1}
    (demo.folder / DEMO).write_text(study)
    linear = "    captions: human\n    attention:"
    demo.edit(DEMO, linear, linear.replace("human", "{photos-train: empty, photos: human}"))
    # The model; own and empty captions: codes and metrics.
    assert demo.lacking() == {"captions": 1, "train": 1, "code": 2, "metrics": 2, "report": 1}
    (demo.folder / DEMO).write_text(study)
    recipe = 'make="evaluate.code:run",\n    recipe=2,'
    stages = "workflow/tacolab/plan/stages.py"
    demo.edit(stages, recipe, recipe.replace("2", "3"))
    assert demo.planned() == {"code": 12, "metrics": 12, "report": 1}
    demo.edit(stages, recipe.replace("2", "3"), recipe)
    assert demo.lacking() == {}
    demo.edit(DEMO, 'lambdas: ["0.004", "0.015"]', 'lambdas: ["0.004", "0.009", "0.015"]')
    assert demo.lacking() == {"train": 2, "code": 3, "metrics": 3, "report": 1} == demo.planned()


def test_removed_lambda_deletes_nothing(demo: Project) -> None:
    before = results(demo)
    config = (demo.folder / DEMO).read_text()
    latest = demo.folder / "results/report/latest"
    whole = latest.resolve()
    demo.edit(DEMO, 'lambdas: ["0.004", "0.015"]', 'lambdas: ["0.004"]')
    assert demo.planned() == {"report": 1}
    assert demo.snakemake().returncode == 0
    assert results(demo) == before
    # Taken back, there is nothing to do, but to show the report that is there.
    (demo.folder / DEMO).write_text(config)
    assert demo.planned() == {}
    assert latest.resolve() != whole
    assert demo.snakemake().returncode == 0
    assert latest.resolve() == whole


def test_a_folder_in_the_place_of_latest_is_said_and_kept(demo: Project) -> None:
    latest = demo.folder / "results/report/latest"
    latest.unlink()
    latest.mkdir()
    run = demo.snakemake()
    assert run.returncode == 0
    assert "latest is no link; move it away" in run.stderr and "Traceback" not in run.stderr
    assert not latest.is_symlink()


def test_other_caption_source_makes_the_arm_anew_beside_the_old(demo: Project) -> None:
    """Really run; what was there before still is, and needs nothing."""
    before = results(demo)
    small = image_only(demo, "0.004", captions={"photos-train": "empty", "photos": "human"})
    again = {"captions": 1, "train": 1, "code": 1, "metrics": 1, "report": 1}
    assert demo.planned(config=small) == again == demo.lacking(small)
    run = demo.snakemake(config=small)
    assert run.returncode == 0, run.stderr
    assert demo.planned(config=small) == {}
    assert results(demo) > before
    assert demo.planned() == {}


def test_deleted_data_is_made_again_without_the_models(demo: Project) -> None:
    """Deleted to save space, then needed for another lambda."""
    shutil.rmtree(demo.folder / "results/data")
    assert demo.planned() == {}
    demo.edit(DEMO, 'lambdas: ["0.004", "0.015"]', 'lambdas: ["0.004", "0.009", "0.015"]')
    planned = demo.planned()
    assert (planned["data"], planned["train"], planned["code"]) == (2, 2, 3)


def test_deleted_model_is_made_again_from_its_state(demo: Project) -> None:
    model = next((demo.folder / "results/models/taco/0.015").glob("*/*/model.safetensors"))
    content = model.read_bytes()
    model.unlink()
    assert demo.planned() == {"train": 1}
    run = demo.snakemake()
    assert run.returncode == 0, run.stderr
    assert model.read_bytes() == content
    assert (
        "from step"
        not in model.with_name("state").joinpath("train.log").read_text().splitlines()[-1]
    )


def test_killed_head_then_the_same_command(demo: Project) -> None:
    """kill -9 of Snakemake and its jobs in the middle: no lock, the rest is made."""
    small = image_only(demo, "0.004", "0.015")
    shutil.rmtree(demo.folder / "results/evaluation")
    shutil.rmtree(demo.folder / "results/report")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    head = subprocess.Popen(
        ["snakemake", "--profile", "profiles/local", "--configfile", small],
        cwd=demo.folder,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(demo.folder / "workflow")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not list((demo.folder / "results").glob("evaluation/**/*.parquet")):
        assert head.poll() is None
        time.sleep(0.1)
    os.killpg(head.pid, signal.SIGKILL)
    head.wait()
    run = demo.snakemake(config=small)
    assert run.returncode == 0, run.stderr
    assert demo.planned(config=small) == {}


def test_status_and_prune(demo: Project) -> None:
    status = demo.run("tacolab", "status", "-c", DEMO)
    assert "42 of 42 done" in status.stdout
    old = next((demo.folder / "results/models/taco/0.015").glob("*/*"))
    demo.edit(DEMO, 'lambdas: ["0.004", "0.015"]', 'lambdas: ["0.004", "0.009"]')
    status = demo.run("tacolab", "status", "-c", DEMO)
    assert old.name not in status.stdout and "missing" in status.stdout
    listed = demo.run("tacolab", "prune")
    assert str(old.relative_to(demo.folder)) in listed.stdout
    kept = next((demo.folder / "results/models/taco/0.004").glob("*/*"))
    assert str(kept.relative_to(demo.folder)) not in listed.stdout
    assert old.exists()  # listing deletes nothing
    assert demo.run("tacolab", "prune", "--delete").returncode == 0
    assert not old.exists() and kept.exists()
    assert demo.run("tacolab", "prune").stdout.strip().startswith("0.0 MiB  0 artefacts")
