"""Small studies of one data set, and folders of real photos to damage."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tacolab import config
from tacolab.plan import Artefact, Plan
from tacolab.stages.data import run

SHARED = Path(__file__).parents[3].parent / "shared" / "data"


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"needs the COCO subset and Kodak in {SHARED}")
    return SHARED


@pytest.fixture
def plan_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan]:
    """A plan with one data set `set`; results land in the test's folder."""
    monkeypatch.chdir(tmp_path)

    def make(dataset: dict[str, Any], data_root: Path | str = "data") -> Plan:
        study = {
            "title": "test",
            "data_root": str(data_root),
            "lambdas": ["0.01"],
            "datasets": {"set": {"min_side": 64} | dataset},
            "captions": {"empty": {"kind": "empty"}},
            "training": {"dataset": "set", "crop": 64},
            "arms": {"image-only": {"text": None, "captions": "empty"}},
            "protocol": {"baseline": "image-only", "datasets": {}},
        }
        return Plan(config.validate(study, "test.yaml"))

    return make


@pytest.fixture
def pack(plan_of: Callable[..., Plan]) -> Callable[..., Artefact]:
    """Run the stage; the artefact it made."""

    def run_stage(dataset: dict[str, Any], data_root: Path | str = "data") -> Artefact:
        plan = plan_of(dataset, data_root)
        artefact = plan.find("data", dataset="set")
        run(plan, artefact)
        return artefact

    return run_stage


def photo(package: str, path: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """`data/photos` with two JPEG and one PNG photo, and `data/list.json`."""
    folder = tmp_path / "data" / "photos"
    folder.mkdir(parents=True)
    for source in (
        photo("sklearn", "datasets/images/china.jpg"),
        photo("sklearn", "datasets/images/flower.jpg"),
        photo("skimage", "data/coffee.png"),
    ):
        shutil.copy(source, folder)
    names = ["flower.jpg", "china.jpg", "coffee.png"]
    (tmp_path / "data" / "list.json").write_text(json.dumps(names))
    return folder
