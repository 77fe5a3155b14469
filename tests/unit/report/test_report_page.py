"""The report's folder and page: complete, linked, safe, the same every time, light to import."""

import hashlib
import html
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest
from PIL import Image

import report_study
from conftest import tables_of
from tacolab import config
from tacolab.errors import UserError
from tacolab.plan import Plan
from tacolab.stages.report import build, comparison, training
from tacolab.stages.report.figures.rate_distortion import rate_distortion
from tacolab.stages.report.inputs import read
from tacolab.stages.report.judge.claims import claims
from tacolab.stages.report.layout import METRICS, figure_files, report_files

Make = Callable[..., Plan]


class Page(HTMLParser):
    """What a test wants to know of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        self.targets += [found[name] or "" for name in ("href", "src") if name in found]
        self.ids += [found["id"] or ""] if "id" in found else []
        if tag == "img":
            self.images.append(found)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_promised_file_is_made_and_linked(made: Plan) -> None:
    plan = made
    folder = plan.find("report").folder
    promised = report_files(plan.study)
    assert len(promised) == len(set(promised))
    made = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {name for name in made if not name.startswith("gallery/")} == set(promised)
    page = Page(folder / "index.html")
    linked = {unquote(target) for target in page.targets}
    assert made - {"index.html"} <= linked
    for target in page.targets:
        if target.startswith("#"):
            assert target[1:] in page.ids
        else:
            assert (folder / unquote(target)).is_file(), target
    assert len(page.ids) == len(set(page.ids))
    assert page.images and all(image["alt"] for image in page.images)
    link = folder.parent / "latest"
    assert link.resolve() == folder.resolve() != folder.absolute()


def test_head_says_what_was_run(made: Plan) -> None:
    plan = made
    text = " ".join(Page(plan.find("report").path).text.split())
    head = text[: text.index("The study makes no claim about")]
    for fact in (
        "A demonstration, not a result & no claim.",
        "minilm (transformers: some/minilm; 38 tokens, 384 wide)",
        "none: arm image-only",
        "train-set: 9,600 image-caption pairs; validated on 5 images held out of it",
        "kodak: 3 images",
        "photos: 1 image,",
        "1,200 steps (3 epochs)",
        "learning rate 0.0001",
        "0.0008, 0.0016, 0.004, 0.009",
        "seed 100, 101",
        "N = 32, M = 48",
        "1,234,567 parameters",
    ):
        assert fact in head, fact


def test_claims_that_the_config_does_not_measure_are_folded(claimed: Path) -> None:
    """They stand behind the others, in one line that opens; the CSV file lists all."""
    table = pd.read_csv(claimed / "tables/verdicts.csv")
    here, left = table[table["in_config"]], table[~table["in_config"]]
    assert len(table) == len(claims()) and len(here) and len(left)
    assert table["in_config"].is_monotonic_decreasing
    line = f"{len(left)} claims of the full study are not measured in this config"
    for name in ("index.html", "tables/verdicts.md"):
        text = html.unescape((claimed / name).read_text(encoding="utf-8"))
        before, folded = text.split(f"<details>\n<summary>{line}</summary>")
        folded = folded.split("</details>")[0]
        assert all(claim in before for claim in here["claim"])
        assert all(claim in folded and claim not in before for claim in left["claim"])
        assert "data set 'coco' is not evaluated" in folded


def test_a_claim_of_a_later_phase_is_not_folded(make_plan: Make) -> None:
    """The config measures it, only not yet."""
    arms = {"taco": {"lambdas": ["0.0016"]}, "context": {"lambdas": ["0.009"]}}
    arms = {name: report_study.TEXT | lambdas for name, lambdas in arms.items()}
    phases = {"lambdas": ["0.0016", "0.009"], "phases": [["0.0016"], ["0.009"]], "phase": 1}
    plan = make_plan(**report_study.CLAIMED | phases | {"arms": arms})
    table = tables_of(plan)["verdicts"].set_index("id")
    assert table.loc["context-kodak-psnr", "in_config"]
    assert table.loc["context-kodak-psnr", "note"] == "arm 'context' is not in this phase"
    assert not table.loc["context-coco-psnr", "in_config"]


def test_captions_are_text_and_never_markup(made: Plan) -> None:
    plan = made
    page = Page(plan.find("report").path)
    assert report_study.NASTY in page.text
    assert page.tags.count("script") == 1  # the gallery's own
    assert "<study>" in page.text


def test_two_lambdas_make_a_report_without_bjontegaard(make_plan: Make) -> None:
    """The demo's case: curves of two points, nothing invented."""
    study = report_study.study(lambdas=["0.0016", "0.015"])
    plan = make_plan(lambdas=["0.0016", "0.015"], arms=study["arms"], **report_study.SMALL_SET)
    build.run(plan, plan.find("report"))
    text = Page(plan.find("report").path).text
    assert "Not computed" in text and "needs 4 points, image-only has 2" in text


def test_a_report_of_the_first_phase_speaks_of_its_arms_alone(make_plan: Make) -> None:
    """The baseline comes later; nothing can be compared with it yet."""
    arms = report_study.study()["arms"]
    arms["taco"] |= {"lambdas": ["0.009"], "extra_seeds": {}}
    arms["image-only"]["lambdas"] = ["0.0016"]
    plan = make_plan(phases=[["0.0016"], ["0.009"]], phase=1, arms=arms, **report_study.SMALL_SET)
    build.run(plan, plan.find("report"))
    folder = plan.find("report").folder
    assert "1: arms image-only; λ 0.0016; seed 100" in Page(folder / "index.html").text
    assert set(pd.read_csv(folder / "tables/bd.csv")["arm"]) == {"image-only"}


def test_a_second_run_draws_the_same_bytes_and_old_files_do_not_linger(drawn: Plan) -> None:
    folder = drawn.find("report").folder

    def digests() -> dict[str, str]:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    first = digests()
    (folder / "figures/of-yesterday.svg").write_text("old")
    build.run(drawn, drawn.find("report"))
    assert digests() == first
    links = {path.name for path in folder.parent.iterdir() if path.is_symlink()}
    (drawing,) = (path for path in folder.parent.iterdir() if not path.is_symlink())
    assert links == {folder.name, "latest"} and folder.resolve() == drawing.absolute()


def test_a_foreign_latest_is_kept(drawn: Plan) -> None:
    folder = drawn.find("report").folder
    (folder.parent / "latest").unlink()
    (folder.parent / "latest").mkdir()
    with pytest.raises(UserError, match="latest is no link"):
        build.run(drawn, drawn.find("report"))
    assert (folder.parent / "latest").is_dir()


def test_figures_are_as_wide_as_a_column_in_print(made: Plan) -> None:
    plan = made
    for name in figure_files(plan.study):
        if name.endswith("png"):
            with Image.open(plan.find("report").folder / name) as image:
                dpi = image.info["dpi"][0]
                assert dpi >= 200
                assert image.width / dpi == pytest.approx(3.5, abs=0.01)


def test_a_stand_in_far_from_every_arm_is_said_to_be_off_the_axes(made: Plan) -> None:
    """It must not squash what was trained, nor be looked for in vain."""
    study, points = made.study, read(made.study, made.find("report")).points
    far = study.arms["image-only"].model_copy(update={"stand_in": "random weights"})
    study = study.model_copy(update={"arms": {**study.arms, "image-only": far}})
    psnr = METRICS[0]
    before, _ = rate_distortion(study, points, "kodak", psnr)
    points.loc[points["source"] == "image-only", "bpp_real"] += 10
    after, _ = rate_distortion(study, points, "kodak", psnr)
    labels = [
        {text.get_text() for text in figure.legends[0].get_texts()} for figure in (before, after)
    ]
    assert labels[0] - labels[1] == {"image-only"}
    assert labels[1] - labels[0] == {"image-only (off the axes)"}
    assert after.axes[0].get_xlim()[1] < 10


def test_small_images_have_no_ms_ssim_but_a_figure(make_plan: Make) -> None:
    plan = make_plan(**report_study.SMALL)
    for artefact in plan.find("report").inputs.values():
        if artefact.names.get("dataset") == "photos":
            rows = pd.read_parquet(artefact.path).assign(ms_ssim=None)
            report_study.measured_as(artefact, rows)
    build.run(plan, plan.find("report"))
    folder = plan.find("report").folder
    assert (folder / "figures/photos-ms-ssim.svg").stat().st_size > 0
    assert pd.read_csv(folder / "figures/photos-ms-ssim.csv").empty


def test_works_without_torch_and_names_files_without_matplotlib(make_plan: Make) -> None:
    make_plan(**report_study.SMALL)
    script = f"""
import sys
sys.path.insert(0, {str(Path(report_study.__file__).parent)!r})

class Forbidden:
    names = {{"torch", "matplotlib"}}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ImportError(f"{{name}} must not be imported here")

sys.meta_path.insert(0, Forbidden())
from tacolab.stages.report import layout
Forbidden.names = {{"torch"}}
import report_study
from tacolab import config
from tacolab.plan import Plan
from tacolab.stages.report import build, comparison
plan = Plan(config.validate(report_study.study(**report_study.SMALL), "test"))
assert layout.report_files(plan.study)[0] == "index.html"
build.run(plan, plan.find("report"))
assert plan.find("report").done
"""
    # A folder of its own for caches, so that the test writes nothing outside its own.
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_plan_of_the_demo_names_its_files() -> None:
    """The names are a function of the config alone."""
    study = config.validate(report_study.study(), "test")
    files = figure_files(study)
    assert files[:2] == ["figures/kodak-psnr.svg", "figures/kodak-psnr.pdf"]
    # Two data sets by four metrics, other captions on one of them, a training for each lambda.
    assert len(files) == (2 * 4 + 1 + 4) * 4


def test_a_report_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is there, says that there is nothing, and `latest` names no such report."""
    monkeypatch.chdir(tmp_path)
    plan = Plan(config.validate(report_study.study(**report_study.SMALL), "test"))
    path = build.run(plan, plan.find("report"), partial=True)
    folder = path.parent
    assert folder == plan.find("report").folder.with_name("now")
    assert all((folder / name).is_file() for name in report_files(plan.study))
    text = " ".join(Page(path).text.split())
    assert f"Not finished: 0 of {len(plan.find('report').inputs)} results are there" in text
    assert "taco, λ 0.0016: not begun" in text and "evaluations of image-only: 1" in text
    assert not (folder.parent / "latest").exists()


def test_an_arm_in_training_shows_as_such(make_plan: Make) -> None:
    """Its step and its curve are there, up to a line that is just being written."""
    plan = make_plan(**report_study.SMALL)
    model = plan.find("train", arm="image-only", lmbda="0.0016", seed="100")
    model.files[1].unlink()
    plan.find("metrics", arm="image-only", lmbda="0.0016", seed="100").files[0].unlink()
    state = model.folder / "state"
    state.mkdir()
    lines = [{"step": step, "epoch": 0, "loss": 9 - step / 100} for step in (100, 200, 300)]
    lines.append({"epoch": 0, "validation": {"step": 300, "loss": 5.5}})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (state / "train.jsonl").write_text(text + '{"step": 400, "lo')
    (state / "segments.jsonl").write_text(json.dumps({"event": "start", "steps": 1200}) + "\n")
    path = build.run(plan, plan.find("report"), partial=True)
    text = " ".join(Page(path).text.split())
    assert "image-only, λ 0.0016: in training: step 300 of 1,200 (epoch 0.8 of 3)" in text
    curve = pd.read_csv(path.parent / "figures/training-0.0016.csv")
    assert set(curve["arm"]) == {"image-only"}
    assert curve["loss"].dropna().tolist() == [8.0, 7.0, 6.0]
    assert curve["validation"].dropna().tolist() == [5.5]
    assert curve["epoch"].max() == 0.75


def test_a_last_mean_of_few_steps_is_no_jump_in_a_curve(make_plan: Make) -> None:
    plan = make_plan(**report_study.SMALL)
    model = plan.find("train", arm="image-only", lmbda="0.0016", seed="100")
    (model.folder / "state").mkdir()
    lines = [{"step": step, "loss": loss} for step, loss in ((50, 4.0), (100, 3.0), (150, 2.5))]
    lines += [{"step": 154, "loss": 0.1}, {"validation": {"step": 154, "loss": 2.6}}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (model.folder / "state/train.jsonl").write_text(text)
    found = training.read(model)
    assert found.step == 154 and found.curve["epoch"].max() == found.epochs
    assert found.curve["loss"].dropna().tolist() == [4.0, 3.0, 2.5]
    assert found.curve["validation"].dropna().tolist() == [2.6]


def test_two_folders_side_by_side(reported: tuple[Path, Plan], tmp_path: Path) -> None:
    """A colleague's taco needs 2 % more bits; one of the arms is missing there."""
    mine = reported[1].find("report").folder
    theirs = tmp_path / "theirs"
    shutil.copytree(reported[0] / mine, theirs / "report" / "latest")
    path = theirs / "report/latest/tables/per_image.parquet"
    images = pd.read_parquet(path)
    images.loc[images["source"] == "taco", "bpp_real"] *= 1.02
    images[images["source"] != "image-only"].to_parquet(path)
    page = comparison.run(reported[0] / "results", theirs, tmp_path / "compare")
    points = pd.read_csv(page.parent / "tables/points.csv")
    assert set(points["source"]) == {"taco"}
    assert points["bpp_change"].to_numpy() == pytest.approx(2)
    curves = pd.read_csv(page.parent / "tables/curves.csv")
    assert len(curves) and curves["bd_rate"].to_numpy() == pytest.approx(2)
    only = pd.read_csv(page.parent / "tables/missing.csv")
    assert set(only["source"]) == {"image-only"} and set(only["only"]) == {"first"}
    for target in Page(page).targets:
        assert (page.parent / unquote(target)).is_file(), target
    with pytest.raises(UserError, match="holds no report"):
        comparison.run(theirs, tmp_path, tmp_path / "compare")


def test_reports_of_before_a_metric_came_are_compared(
    reported: tuple[Path, Plan], tmp_path: Path
) -> None:
    folder = reported[0] / reported[1].find("report").folder
    for name in ("mine", "theirs"):
        shutil.copytree(folder, tmp_path / name)
        path = tmp_path / name / "tables/per_image.parquet"
        pd.read_parquet(path).drop(columns="ms_ssim").to_parquet(path)
    page = comparison.run(tmp_path / "mine", tmp_path / "theirs", tmp_path / "compare")
    points = pd.read_csv(page.parent / "tables/points.csv")
    assert points["bpp_change"].to_numpy() == pytest.approx(0)


def test_other_crops_of_the_same_images_are_not_compared(
    reported: tuple[Path, Plan], tmp_path: Path
) -> None:
    mine = reported[0] / reported[1].find("report").folder
    theirs = tmp_path / "theirs"
    shutil.copytree(mine, theirs)
    path = theirs / "tables/per_image.parquet"
    images = pd.read_parquet(path)
    images.loc[images["dataset"] == "photos", "width"] = 128
    images.to_parquet(path)
    page = comparison.run(mine, theirs, tmp_path / "compare")
    assert set(pd.read_csv(page.parent / "tables/points.csv")["dataset"]) == {"kodak"}
    said = "photos was coded at other sizes: f 192 x 128 against 128 x 128"
    assert said in " ".join(Page(page).text.split())
    images.assign(width=128).to_parquet(path)
    with pytest.raises(UserError, match="kodak was coded at other sizes"):
        comparison.run(mine, theirs, tmp_path / "compare")
    images[images["image_id"].isin(["c", "f"])].assign(width=192).to_parquet(path)
    text = " ".join(Page(comparison.run(mine, theirs, tmp_path / "compare")).text.split())
    assert "kodak: 2 of 3 images only in the first" in text
    images.assign(image_id="other").to_parquet(path)
    with pytest.raises(UserError, match="kodak: no image was coded in both"):
        comparison.run(mine, theirs, tmp_path / "compare")
