"""The prepared inputs of the small training, and what it ends in when nobody disturbs it."""

from pathlib import Path

import pytest
import torch

import small_training


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with packed photos and their captions."""
    return small_training.prepare(tmp_path_factory.mktemp("prepared"))


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
