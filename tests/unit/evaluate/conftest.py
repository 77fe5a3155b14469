"""Packed photos, captions and small codecs, made once; every test works on a copy."""

import os
import shutil
from pathlib import Path

import pytest
import small_evaluation
import torch
from safetensors.torch import save_file

from running import run_stage
from tacolab.files import atomic, intact
from tacolab.plan import Artefact, Plan
from tacolab.plan.stages import CAPTIONS, DATA, TOKEN_WEIGHTS, TRAIN, VOCABULARY
from tacolab.readers.networks import build_codec


def write_model(plan: Plan, artefact: Artefact) -> None:
    """A codec as training leaves it, with random weights that let the caption count."""
    torch.manual_seed(len(artefact.names["arm"]))
    codec = build_codec(plan.study, artefact.names["arm"])
    for name, weight in codec.state_dict().items():
        if name.endswith("gamma"):  # of the adapter, almost 0 before training
            weight.fill_(5)
    model, description = artefact.files
    atomic.write(model, lambda path: save_file(codec.exported(), path))
    content = {"key": artefact.key, "text": artefact.ingredients, "sha256": intact.sha256(model)}
    atomic.write_json(description, content)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that an evaluation reads."""
    folder = tmp_path_factory.mktemp("prepared")
    before = Path.cwd()
    os.chdir(folder)
    try:
        plan = small_evaluation.plan()
        for artefact in plan.needed():
            if artefact.stage is TRAIN:
                write_model(plan, artefact)
            elif artefact.stage in (DATA, CAPTIONS, VOCABULARY, TOKEN_WEIGHTS):
                run_stage(plan, artefact, threads=1)
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
