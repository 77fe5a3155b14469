"""What a study is said to cost, against arithmetic by hand and against what is really made."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tacolab import config
from tacolab.errors import UserError
from tacolab.overview import costs
from tacolab.overview.costs import Costs, Work
from tacolab.plan import Artefact, Plan
from tacolab.plan.stages import PARAMETERS
from tacolab.readers.networks import build_codec
from tacolab.readers.packed import Packed
from tacolab.stages import data
from tacolab.stages.captions.chat import prices
from tacolab.stages.captions.chat.question import Answer

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither results/ nor data/ is here."""
    monkeypatch.chdir(tmp_path)


CONTROLS = {"controls": ["empty", "constant", "shuffled"]}


def plan(name: str, **changes: Any) -> Plan:
    """A committed config with other top-level entries; of study and demo two arms."""
    content = yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())
    if name != "mini":
        content["arms"] = {arm: content["arms"][arm] for arm in ("taco", "image-only")}
    if name == "study":
        del content["timing"], content["protocol"]["anchors"]["avif"]
        coco = {"crop": 256, "captions": 5}
        content["protocol"]["datasets"] = {"coco": coco, "clic": CONTROLS, "kodak": CONTROLS}
    return Plan(config.validate(content | changes, name))


def estimate(what: Plan, rate: float | None = None, gpus: int = 2, hours: float = 48) -> Costs:
    return costs.estimate(what, rate, gpus, hours)


def make(artefact: Artefact, **description: Any) -> None:
    """Stand-ins for an artefact's files; the JSON says what is given."""
    for path in artefact.files:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"gpus": 1} | description | {"key": artefact.key, "text": artefact.ingredients}
        path.write_text(json.dumps(content) if path.suffix == ".json" else "")


def begin(model: Artefact, step: int) -> None:
    """The history of a training that was stopped, its last line torn."""
    state = model.folder / "state"
    state.mkdir(parents=True)
    lines = [{"step": step - 100, "loss": 1.0}, {"step": step}, {"epoch": 0, "validation": {}}]
    (state / "train.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in lines) + '{"ste')


# -- the study ----------------------------------------------------------------------------------

# MS-COCO 2014 train: 414,113 captions of 82,783 images, 500 of which are held out.
PAIRS = 414_113 * (82_783 - 500) // 82_783
SAMPLES = 50 * (PAIRS // 8) * 8
# One GPU does half of 69 samples/s; four jobs of 48 h, five minutes to start each.
HOURS = SAMPLES / (69 / 2) / 3600 + 4 * 5 / 60


def test_a_published_model_takes_a_week_of_one_gpu() -> None:
    """Measured on the cluster: 83 h on two GPUs, so 167 h on one, in four jobs of 48 h."""
    row = estimate(plan("study", phase=1, arms=_only("taco"))).phases[0]
    assert (row.models, row.samples, row.segments) == (1, SAMPLES, 4)
    assert row.gpu_hours == pytest.approx(HOURS)
    assert row.gpu_hours == pytest.approx(167, rel=0.01)
    assert row.days == pytest.approx(167 / 24, rel=0.01)


def _only(arm: str) -> dict[str, Any]:
    arms = yaml.safe_load((ROOT / "config/study.yaml").read_text())["arms"]
    return {arm: arms[arm]}


def test_the_study_by_phases() -> None:
    found = estimate(plan("study"))
    # Two arms at 0.0016; at 0.0004 and 0.015; at three more, with two further seeds of taco.
    models = [2 * 1, 2 * 2, 2 * 3 + 2]
    assert [row.models for row in found.phases] == models
    # taco: COCO, and CLIC and Kodak with own captions and three controls; image-only: three sets.
    # Each is coded and measured.
    assert [row.evaluations for row in found.phases] == [
        2 * (9 + 3),
        2 * 2 * (9 + 3),
        2 * (3 * (9 + 3) + 2 * 9),
    ]
    # Data: 4. Captions: human of two sets, published of two, three controls of two. Anchors: two
    # on three sets. The report comes when all is there.
    assert [row.other_jobs for row in found.phases] == [4 + 4 + 6 + 6, 0, 1]
    # Two models at once: one round, two, four; seven when nobody waits for a phase's end.
    rows = zip([*found.phases, found.total], [*models, 14], [1, 2, 4, 7], strict=True)
    for row, count, rounds in rows:
        assert row.gpu_hours == pytest.approx(count * HOURS)
        assert row.days == pytest.approx(rounds * HOURS / 24)
        assert (row.samples, row.segments, row.dollars) == (count * SAMPLES, 4, 0)
    notes = "\n".join(found.notes)
    assert "34.5 samples/s on one GPU, assumed" in notes
    assert "coco-train: 82,783 images, 414,113 human captions, as published" in notes


def test_the_studys_disk() -> None:
    found = estimate(plan("study"))
    # taco: the model, its two exports, two checkpoints with Adam's two moments.
    models = 8 * (3 + 2 * 3) * 4 * 38.6e6 + 6 * (1 + 2 * 3) * 4 * 38.6e6
    # COCO's crops of 256 pixels, five captions each but for image-only; half a bit per pixel.
    coded = (8 * 5 + 6) * 30_504 * 256**2 * 0.5 / 8
    # CLIC and Kodak whole, from taco with its own captions and three controls.
    originals = 1.5e9 + 15.4e6
    coded += (8 * 4 + 6) * originals * (0.5 / 12)
    assert found.total.disk == pytest.approx(models + coded + 13e9 + 4.8e9 + originals)


def test_of_another_list_of_images_nobody_knows_the_size() -> None:
    datasets = yaml.safe_load((ROOT / "config/study.yaml").read_text())["datasets"]
    datasets["kodak"]["list"]["sha256"] = "0" * 64
    found = estimate(plan("study", datasets=datasets))
    assert [note.split(":")[0] for note in found.notes if "its size is unknown" in note] == [
        "Data set kodak"
    ]


@pytest.mark.parametrize(("arm", "share"), [("taco", 1.0), ("image-only", 0.96)])
def test_parameters_are_those_of_the_network(arm: str, share: float) -> None:
    with torch.device("meta"):
        network = build_codec(plan("study").study, arm)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert share * PARAMETERS == pytest.approx(count, rel=0.01)


# -- phases -------------------------------------------------------------------------------------


def test_phases_share_all_jobs_and_each_limit_has_its_part() -> None:
    whole = estimate(plan("study"))
    for name in ("models", "evaluations", "other_jobs", "samples", "gpu_hours", "disk"):
        parts = sum(getattr(row, name) for row in whole.phases)
        assert getattr(whole.total, name) == pytest.approx(parts)
    first_two = estimate(plan("study", phase=2))
    assert [row.models for row in first_two.phases] == [2, 4]
    assert first_two.total.models == 6
    assert first_two.total.days == pytest.approx(3 * HOURS / 24)


def test_without_phases_all_is_one() -> None:
    found = estimate(plan("study", phases=[]))
    assert [row.models for row in found.phases] == [14]
    assert found.total.days == found.phases[0].days


# -- the allowance ------------------------------------------------------------------------------


def test_other_speeds_jobs_and_gpus() -> None:
    first = plan("study", phase=1)
    row = estimate(first, rate=69, gpus=1, hours=24).total
    # 82.9 h of training in jobs of 23 h 50 min that work.
    hours = SAMPLES / 69 / 3600 + 4 * 5 / 60
    assert row.segments == 4
    assert row.gpu_hours == pytest.approx(2 * hours)
    assert row.days == pytest.approx(2 * hours / 24)
    assert estimate(first, rate=69, gpus=9, hours=24).total.days == pytest.approx(hours / 24)


@pytest.mark.parametrize(
    ("hours", "gpus", "expected"),
    [([], 2, 0), ([5], 3, 5), ([1, 2, 3], 2, 3), ([3, 3, 4, 4, 6], 2, 11), ([1] * 7, 3, 3)],
)
def test_the_longest_models_start_first(hours: list[float], gpus: int, expected: float) -> None:
    trainings = [Work(str(n), None, hours=each, segments=1) for n, each in enumerate(hours)]
    assert costs.schedule(trainings, gpus) == expected


# -- what is there already ----------------------------------------------------------------------


def test_the_finished_costs_nothing_and_the_begun_what_is_left() -> None:
    study = plan("study", phase=1)
    before = estimate(study).total
    taco, image_only = (study.find("train", arm=arm) for arm in ("taco", "image-only"))
    # 29 h are left: one more job.
    begin(taco, step=SAMPLES // 8 - 450_000)
    begun = estimate(study).total
    assert (begun.models, begun.models_done) == (2, 0)
    assert begun.samples == SAMPLES + 450_000 * 8
    left = 450_000 * 8 / 34.5 / 3600 + 5 / 60
    assert begun.gpu_hours == pytest.approx(HOURS + left)
    assert begun.days == pytest.approx(HOURS / 24)
    make(image_only, steps=SAMPLES // 8, seconds=SAMPLES / 50)
    found = estimate(study)
    # The finished model also tells how fast this machine is.
    assert any("50 samples/s on one GPU, measured: mean of 1 fin" in note for note in found.notes)
    assert (found.total.models, found.total.models_done) == (1, 1)
    assert found.total.gpu_hours == pytest.approx(450_000 * 8 / 50 / 3600 + 5 / 60)
    assert found.total.evaluations == before.evaluations
    for artefact in study:
        if artefact.stage.name in ("code", "metrics") and artefact.names["arm"] == "image-only":
            make(artefact)
    assert estimate(study).total.evaluations == before.evaluations - 2 * 3


def test_a_speed_of_another_network_or_crop_is_not_taken() -> None:
    other = plan("demo", codec={"N": 64, "M": 16, "groups": [4, 12]}).find(
        "train", arm="taco", lmbda="0.004"
    )
    make(other, steps=100, seconds=1)
    found = estimate(plan("demo"))
    assert found.total.samples is not None
    assert (found.total.gpu_hours, found.total.days, found.total.segments) == (None, None, None)
    assert any("give --samples-per-second" in note for note in found.notes)


def test_a_damaged_model_tells_no_speed_and_a_damaged_manifest_is_named() -> None:
    study = plan("demo")
    model, data = (
        study.find("train", arm="taco", lmbda="0.004"),
        study.find("data", dataset="photos"),
    )
    make(model, steps=100, seconds=1)
    model.files[1].write_text("{}")
    assert estimate(study).total.gpu_hours is None
    make(data)
    data.path.write_text("{")
    with pytest.raises(UserError, match=r"manifest.json: damaged; remove it"):
        estimate(study)


def test_what_is_there_costs_nothing_and_metrics_of_other_code_are_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = plan("demo")
    for artefact in study:
        make(artefact, count=3, captions=15, bytes=300, steps=1, seconds=1)
    done = estimate(study)
    assert (done.total.evaluations, done.total.other_jobs, done.total.disk) == (0, 0, 0)
    assert (done.total.models, done.total.gpu_hours, done.total.days) == (0, 0, 0)
    study.find("metrics", arm="image-only", lmbda="0.004").path.unlink()
    again = estimate(study).total
    assert (again.evaluations, again.other_jobs) == (1, 0)
    monkeypatch.setattr("tacolab.plan.stage.fingerprint", lambda *modules: "another0")
    edited = estimate(plan("demo")).total
    assert (edited.models, edited.evaluations, edited.other_jobs) == (0, 6, 3)  # anchors, report


def test_a_caption_source_that_nobody_has_counted_is_unknown_until_its_table_is_there() -> None:
    content = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    content["captions"]["released"] = {"kind": "published", "files": {"photos-train": "c.json"}}
    content["arms"] = {arm: content["arms"][arm] for arm in ("taco", "image-only")}
    content["arms"]["taco"]["captions"] = {"photos-train": "released", "photos": "human"}
    study = Plan(config.validate(content, "demo"))
    found = estimate(study, rate=10)
    assert (found.total.samples, found.total.gpu_hours) == (None, None)
    assert any("--until captions" in note for note in found.notes)
    make(study.find("captions", source="released"), images=5, captions=15)
    # Three captions of four photos for taco, five for image-only; 16 epochs, two models each.
    assert estimate(study, rate=10).total.samples == 2 * 16 * (12 + 20)


def test_listed_pictures_are_those_that_are_packed(tmp_path: Path) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"needs the COCO subset in {SHARED}")
    shutil.copytree(SHARED / "coco", tmp_path / "data" / "coco")
    (tmp_path / "data" / "kodak").symlink_to(SHARED / "kodak")
    mini = plan("mini", data_root="data")
    before = estimate(mini, rate=10)
    packed = mini.find("data", dataset="coco-train")
    data.run(mini, packed)
    after = estimate(mini, rate=10)
    assert after.total.samples == before.total.samples
    assert after.total.gpu_hours == before.total.gpu_hours
    n_bytes = json.loads(packed.path.read_text())["bytes"]
    assert before.total.disk - after.total.disk == pytest.approx(n_bytes)


def test_what_a_chat_model_still_has_to_be_asked(tmp_path: Path) -> None:
    content = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    content["captions"]["context"] = {"kind": "gpt4o", "per_image": {"photos-train": 5}}
    content["arms"] = {arm: content["arms"][arm] for arm in ("taco", "image-only")}
    content["arms"]["taco"]["captions"] = "context"
    study = Plan(config.validate(content, "demo"))
    found = estimate(study, rate=10)
    # 5 x 5 for training, 3 for the test, 120 tokens in and 150 out each, in batches.
    one = (120 * 2.5 + 150 * 10) / 1e6 / 2
    assert found.total.dollars == found.phases[0].dollars == pytest.approx(28 * one)
    assert any("25 requests" in note and "$0.04 sync, $0.02 batch" in note for note in found.notes)
    assert found.total.samples == 2 * 16 * (20 + 20)  # each trains on five captions of four photos
    data.run(study, study.find("data", dataset="photos"))
    table = study.find("captions", source="context", dataset="photos")
    answers = prices.answers(study.study, table, Packed(table.inputs["data"].folder))
    answers.prepare()
    answers.append(answers.line((1, 0), Answer("stop", "A.", "m", 1, 120, 150, "x"), "sync", "s"))
    answers.close()
    assert estimate(study, rate=10).total.dollars == pytest.approx(27 * one)
    content["captions"]["context"]["model"] = "llava"
    assert estimate(Plan(config.validate(content, "demo"))).total.dollars is None
