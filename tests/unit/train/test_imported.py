"""Arms with ready-made weights: what is imported, what is refused, and that the rest copes."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

import authors_file
import small_training
from tacolab import cli, config
from tacolab.codec import Elic, Taco
from tacolab.errors import UserError
from tacolab.overview import costs
from tacolab.overview.artefacts import rows
from tacolab.overview.trainings import Observer
from tacolab.plan import Artefact, Plan
from tacolab.stages import captions, data
from tacolab.stages.data import prefetch
from tacolab.stages.data.sources import check_sources
from tacolab.stages.report import build
from tacolab.stages.train import imported

SIZES: dict[str, Any] = {"N": 8, "M": 8, "groups": (2, 6), "text_dim": 384}
FILE = Path("weights/RANDOM-0.01.pth.tar")
SHARED = Path(__file__).parents[3] / "../shared/golden/state_dict.json"


def study(weights: object = str(FILE), **changes: Any) -> dict[str, Any]:
    """The small study with an arm of random weights in the authors' format."""
    arm = {"text": "minilm", "captions": "human", "checkpoints": {"0.01": weights}}
    arms = small_training.study()["arms"] | {"published": arm | changes.pop("published", {})}
    how = {"datasets": {"set": {"crop": 64}}, "baseline": "published", "examples": 1}
    return small_training.study(arms=arms, protocol=how, **changes)


def plan(**changes: Any) -> Plan:
    return Plan(config.validate(study(**changes), "test"))


def find(what: Plan) -> Artefact:
    return what.find("import", arm="published", lmbda="0.01")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return tmp_path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authors_file.write(tmp_path_factory.mktemp("authors") / FILE.name, **SIZES)


@pytest.fixture
def file(made: Path) -> Path:
    path = Path("data") / FILE
    path.parent.mkdir(parents=True)
    shutil.copy(made, path)
    return path


def test_the_model_is_the_files_network(file: Path) -> None:
    artefact = find(plan())
    imported.run(plan(), artefact)
    expected = authors_file.golden(Taco(**SIZES))
    named = dict(expected.named_parameters())
    model = Taco.from_state_dict(load_file(artefact.path))
    assert all(torch.equal(value, named[name]) for name, value in model.named_parameters())
    assert model.gaussian_conditional.quantized_cdf.numel() == 0  # theirs are not believed
    info = json.loads(artefact.files[1].read_text())
    assert info["weights"]["path"] == str(FILE)
    assert info["text"]["spec"]["text"]["width"] == 384
    assert not {"steps", "epochs", "samples", "seconds"} & info.keys()
    before = artefact.path.read_bytes()
    imported.run(plan(), artefact)
    assert artefact.path.read_bytes() == before  # codes name the model by its bytes


@pytest.mark.skipif(not SHARED.exists(), reason="the published network's names are not here")
def test_the_stand_in_has_the_names_and_shapes_of_the_published_network() -> None:
    with torch.device("meta"):
        model = Taco()
    shapes = {name: list(value.shape) for name, value in model.named_parameters()}
    published = json.loads(SHARED.read_text())
    assert shapes == {name: published[name] for name in shapes}
    named = {f"module.{name}" for name in published}
    assert {name for name in authors_file.state_dict(Taco(**SIZES)) if "._" not in name} <= named


class Code:
    """What a pickle of bad will looks like."""

    def __reduce__(self) -> tuple[Callable[..., int], tuple[str]]:
        return os.system, ("touch ran",)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def code(path: Path) -> None:
    torch.save(torch.load(path, weights_only=True) | {"note": Code()}, path)


def bare_code(path: Path) -> None:
    path.write_bytes(pickle.dumps(Code()))


def web_page(path: Path) -> None:
    path.write_text("<!DOCTYPE html><html><title>Google Drive - Virus scan warning</title>")


def other_size(path: Path) -> None:
    authors_file.write(path, **SIZES | {"N": 16})


def other_text(path: Path) -> None:
    authors_file.write(path, **SIZES | {"text_dim": 512})


def other_codec(path: Path) -> None:
    torch.save({"state_dict": Elic(8, 8, (2, 6)).state_dict()}, path)


def no_network(path: Path) -> None:
    torch.save({"state_dict": [1, 2], "epoch": 3}, path)


def not_finite(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    content["state_dict"]["module.g_a.analysis_transform.0.weight"][0, 0, 0, 0] = torch.nan
    torch.save(content, path)


def stretched(path: Path) -> None:
    """A tensor that says one number a billion times."""
    content = torch.load(path, weights_only=True)
    content["state_dict"]["module.g_a.analysis_transform.0.weight"] = torch.zeros(1).expand(10**9)
    torch.save(content, path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut_off, "cut off or damaged; fetch it again"),
        (empty, "cut off or damaged; fetch it again"),
        (
            code,
            r"more than weights \(posix\.system\), which could run code when it is read",
        ),
        (bare_code, "could run code when it is read, and was not opened"),
        (web_page, "is a web page, not weights"),
        (other_size, r"another network: g_a\.\S+ is \(16, 3, 5, 5\), must be \(8, 3, 5, 5\)"),
        (other_text, r"another network: .* is \(8, 512\), must be \(8, 384\)"),
        (other_codec, r"does not fit Taco\(.*missing \(\d+\): g_a\.analysis_transform"),
        (no_network, "holds no state dict"),
        (not_finite, r"g_a\.analysis_transform\.0\.weight is not finite"),
        (stretched, r"g_a\.analysis_transform\.0\.weight is no plain tensor"),
        (Path.unlink, "No such file or directory; data_root is 'data'"),
    ],
)
def test_what_is_no_such_file_is_refused_in_one_line(
    file: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(file)
    with pytest.raises(UserError, match=message) as error:
        imported.run(plan(), find(plan()))
    assert "RANDOM-0.01" in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400
    assert not Path("ran").exists()
    assert not Path("results").exists()


def test_only_the_pinned_file_is_taken_and_its_content_is_the_key(file: Path) -> None:
    wrong = {"path": str(FILE), "sha256": "0" * 64}
    pinned = plan(weights=wrong)
    with pytest.raises(UserError, match="changed: its sha256 is"):
        imported.run(pinned, find(pinned))
    elsewhere = find(plan(weights=wrong | {"path": "other.pth.tar"}))
    assert elsewhere.key == find(pinned).key != find(plan()).key


def test_no_recipe_and_no_training_data_is_in_its_key() -> None:
    other = plan(training={"epochs": 9, "learning_rate": 0.5})
    assert find(other).key == find(plan()).key
    assert other.find("train", arm="taco").key != plan().find("train", arm="taco").key
    assert not find(plan()).inputs
    assert find(plan(codec={"N": 16, "M": 8, "groups": [2, 6]})).key != find(plan()).key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": {"epochs": 3}}, "arms.published.training: this arm has `checkpoints`"),
        ({"lambdas": ["0.01"]}, "arms.published.lambdas: this arm has `checkpoints`"),
        ({"checkpoints": {"0.010": "x"}}, "'0.010' and '0.01' are two spellings"),
        ({"token_weighting": "pooled", "captions": {}}, "names no caption source"),
    ],
)
def test_contradictions_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(published=change)


def test_before_it_is_there_the_study_says_how_to_get_it() -> None:
    what = plan()
    (need,) = (n for n in prefetch.missing(what.study) if "published" in n.what)
    assert (need.problem, need.ready) == ("is missing", False)
    assert "docs/data.md" in need.remedy and str(Path("data") / FILE) in need.remedy
    with pytest.raises(UserError, match=FILE.name):
        check_sources(what)
    assert not [t for t in Observer(what).look().trainings if t.arm == "published"]
    (row,) = (
        row
        for row in rows(what, Observer(what).look().trainings)
        if "published" in str(row.artefact) and row.artefact.stage.name == "imported"
    )
    assert row.state == "missing"
    assert costs.estimate(what, 1.0, 1, 48).total.models == len(what.study.arms) - 1


@pytest.mark.slow
def test_from_the_file_to_the_report(file: Path) -> None:
    """The commands of a user; then a report of this arm alone, which knows no training."""
    arms = {"published": study()["arms"]["published"]}
    content = study() | {"arms": arms}
    Path("study.yaml").write_text(yaml.safe_dump(content))
    what = Plan(config.validate(content, "test"))
    data.run(what, what.find("data", dataset="set"))
    captions.run(what, what.find("captions", dataset="set"))
    for command in ("train published 0.01", "evaluate published 0.01 set"):
        cli.app([*command.split(), "-c", "study.yaml"], standalone_mode=False)
    metrics = what.find("metrics", arm="published")
    table = pd.read_parquet(metrics.path)
    summary = json.loads(metrics.files[1].read_text())["summary"]
    for name in ("psnr", "lpips", "lpips_published"):
        assert table[f"{name}_float"].notna().all()
        assert summary[f"{name}_float"] == pytest.approx(table[f"{name}_float"].mean())
    assert (table["psnr"] != table["psnr_float"]).all()
    assert Observer(what).look().trainings == []
    assert costs.estimate(what, None, 1, 48).total.models == 0
    build.run(what, what.find("report"))
    models = pd.read_csv(what.find("report").folder / "tables/models.csv")
    assert list(models["arm"]) == ["published"]
    assert pd.isna(models.loc[0, "steps"]) and models.loc[0, "parameters"] > 0
