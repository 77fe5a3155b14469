"""The prepared inputs of the small training, and what it ends in when nobody disturbs it."""

import os
from pathlib import Path

import pytest
import torch

import small_training
from tacolab import captions, config, data
from tacolab.keys import Plan


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with packed photos and their captions."""
    folder = tmp_path_factory.mktemp("prepared")
    before = Path.cwd()
    os.chdir(folder)
    try:
        plan = Plan(config.validate(small_training.study(), "test"))
        data.run(plan, plan.find("data", dataset="set"))
        captions.run(plan, plan.find("captions", dataset="set"))
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    """A working folder with the inputs of a training."""
    return small_training.copy_inputs(prepared, tmp_path)


@pytest.fixture(scope="session")
def undisturbed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a training that was never interrupted."""
    folder = small_training.copy_inputs(prepared, tmp_path_factory.mktemp("undisturbed"))
    assert small_training.finish(folder) == 0
    return small_training.model_folder(folder)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
