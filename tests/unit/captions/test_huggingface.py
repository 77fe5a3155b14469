"""Small models of real classes with random weights: what they write is nonsense, but theirs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from skimage import data as photos
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    CLIPImageProcessor,
    GPT2Config,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessor,
)

from tacolab.config import HuggingFace
from tacolab.errors import UserError
from tacolab.plan import Artefact
from tacolab.readers.caption_table import CaptionTable
from tacolab.stages.captions.network.huggingface import HuggingFaceCaptioner

MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "<image>"]
WORDS = [*MARKS, "what", "is", "a", "photo", "of", *(f"word{i}" for i in range(60))]
SIZE = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2}
SIZE |= {"num_attention_heads": 4}
VISION = SIZE | {"image_size": 32, "patch_size": 8}
TEXT = {"vocab_size": len(WORDS), "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
SQUARE = {"height": 32, "width": 32}


def tokenizer(marked: bool) -> PreTrainedTokenizerFast:
    """Words of our own; marked: with begin and end, as BERT's."""
    words = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.add_special_tokens(["<image>"])  # stands there many times without a space
    if marked:
        words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad", "unk", "cls", "sep"), MARKS, strict=False))
    marks = {f"{name}_token": mark for name, mark in names.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="[CLS]", eos_token="[SEP]", **marks
    )


def blip() -> tuple[Any, list[Any]]:
    """A processor for image and text; goes on with the prompt."""
    text = SIZE | TEXT | {"encoder_hidden_size": 32, "sep_token_id": 3}
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=VISION))
    return model, [BlipProcessor(BlipImageProcessor(size=SQUARE), tokenizer(True))]


def vit_gpt2() -> tuple[Any, list[Any]]:
    """No processor for both, and no prompt."""
    writer = GPT2Config(n_embd=32, n_layer=2, n_head=4, add_cross_attention=True, **TEXT)
    parts = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(**VISION), writer)
    model = VisionEncoderDecoderModel(config=parts)
    for settings in (model.config, model.generation_config):
        settings.decoder_start_token_id = 2
        settings.pad_token_id, settings.eos_token_id = 0, 3
    return model, [ViTImageProcessor(size=SQUARE), tokenizer(False)]


def llava() -> tuple[Any, list[Any]]:
    """Is asked in a chat; answers after the prompt."""
    vision = VISION | {"model_type": "clip_vision_model"}
    text = SIZE | TEXT | {"model_type": "llama"}
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=vision, text_config=text, image_token_index=4, image_seq_length=16
        )
    )
    content = "{% if c.type == 'image' %}<image> {% else %}{{ c.text }}{% endif %}"
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SQUARE),
        tokenizer(False),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template="{% for m in messages %}{% for c in m.content %}"
        + content
        + "{% endfor %}{% endfor %} is",
    )
    return model, [processor]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for make in (blip, vit_gpt2, llava):
        torch.manual_seed(1)
        model, others = make()
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and "embed" not in name:  # else all images would read alike
                torch.nn.init.normal_(weight, std=0.6)
        folder = tmp_path_factory.mktemp(f"random-weights-{make.__name__}")
        for part in (model, *others):
            part.save_pretrained(folder)
        found[make.__name__] = folder
    return found


@pytest.fixture
def images() -> list[npt.NDArray[np.uint8]]:
    return [photos.coffee(), photos.rocket()[:100], photos.astronaut(), photos.chelsea()]


def captioner(folder: Path, **options: Any) -> HuggingFaceCaptioner:
    source = HuggingFace(kind="hf", model=str(folder), max_tokens=6, **options)
    return HuggingFaceCaptioner(folder, source, torch.device("cpu"))


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("blip", {}),
        ("blip", {"prompt": "a photo of", "beam": 2}),
        ("vit_gpt2", {"beam": 3}),
        ("llava", {"prompt": "what is"}),
    ],
)
def test_every_kind_of_model_describes_each_image_alike_in_any_batch(
    folders: dict[str, Path],
    images: list[npt.NDArray[np.uint8]],
    model: str,
    options: dict[str, Any],
) -> None:
    describe = captioner(folders[model], **options)
    together = describe(images)
    assert together == [describe([image])[0] for image in images]
    assert len(set(together)) > 1
    for text in together:
        assert 1 <= len(text.split()) <= 6
        assert set(text.split()) <= set(WORDS) - set(MARKS)
        assert not text.startswith("a photo of")


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("vit_gpt2", {"prompt": "what"}, "does not take images with the prompt 'what' .*change"),
        ("llava", {}, "describes what it is asked; give it a `prompt`"),
    ],
)
def test_a_prompt_that_does_not_fit_is_named(
    folders: dict[str, Path],
    images: list[npt.NDArray[np.uint8]],
    model: str,
    options: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(UserError, match=message) as raised:
        captioner(folders[model], **options)(images)
    assert "\n" not in str(raised.value)


def test_what_is_no_image_to_text_model_is_named(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="no image-to-text model of transformers") as raised:
        captioner(tmp_path)
    assert "\n" not in str(raised.value)
    # transformers would fill up what is missing with noise, and only warn.
    model = BlipForConditionalGeneration.from_pretrained(folders["blip"])
    weights = model.state_dict()
    lost = next(name for name in weights if name.startswith("vision_model.encoder"))
    model.save_pretrained(tmp_path, state_dict={k: v for k, v in weights.items() if k != lost})
    with pytest.raises(UserError, match=f"lacks 1 weights of Blip.*, first {lost}"):
        captioner(tmp_path)


def test_the_table_names_the_model(make: Callable[..., Artefact], folders: dict[str, Path]) -> None:
    source = {"kind": "hf", "model": str(folders["blip"]), "max_tokens": 4}
    artefact = make("network", network=source)
    table = CaptionTable(artefact.path)
    assert len(table) == len(table.ids) == 4
    rows = table.path.read_bytes()
    assert str(folders["blip"]).encode() in rows
    assert artefact.begun == []
