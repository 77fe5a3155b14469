"""Packed photos, captions and small codecs, made once; every test works on a copy."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import small_evaluation
import torch
from safetensors.torch import save_file

from tacolab.files import atomic, intact
from tacolab.plan import Artefact, Plan
from tacolab.readers.networks import build_codec
from tacolab.stages import captions, data
from tacolab.stages import token_weights as weights


def write_model(plan: Plan, artefact: Artefact) -> None:
    """A codec as training leaves it, with random weights that let the caption count."""
    torch.manual_seed(len(artefact.names["arm"]))
    codec = build_codec(plan.study, artefact.names["arm"])
    for name, weight in codec.state_dict().items():
        if name.endswith("gamma"):  # of the adapter, almost 0 before training
            weight.fill_(5)
    model, description = artefact.files
    atomic.write(model, lambda path: save_file(codec.exported(), path))
    content = {"key": artefact.key, "text": artefact.text, "sha256": intact.sha256(model)}
    atomic.write_json(description, content)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that an evaluation reads."""
    folder = tmp_path_factory.mktemp("prepared")
    before = Path.cwd()
    os.chdir(folder)
    try:
        plan = small_evaluation.plan()
        makers: dict[str, Callable[[Plan, Artefact], None]] = {
            "data": data.run,
            "captions": captions.run,
            "vocabulary": lambda _, artefact: weights.run(artefact),
            "weights": lambda _, artefact: weights.run(artefact, threads=1),
            "train": write_model,
        }
        for artefact in plan.needed():
            if artefact.stage in makers:
                makers[artefact.stage](plan, artefact)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with the inputs of an evaluation."""
    shutil.copytree(prepared / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return tmp_path


@pytest.fixture(scope="session")
def undisturbed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with codes and metrics of an evaluation that was never interrupted."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(prepared / "results", folder / "results")
    before = Path.cwd()
    os.chdir(folder)
    try:
        torch.set_num_threads(1)
        small_evaluation.make(small_evaluation.plan(), "metrics")
    finally:
        os.chdir(before)
    return folder
