"""Any image-to-text model of `transformers` as a captioner: BLIP, GIT, Florence-2, LLaVA ..."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    ProcessorMixin,
)
from transformers.utils import logging

from tacolab.config import HuggingFace
from tacolab.errors import UserError


class HuggingFaceCaptioner:
    """Describes images; one caption each, the most likely one of a greedy or beam search."""

    def __init__(self, folder: Path, source: HuggingFace, device: torch.device) -> None:
        """folder: as `save_pretrained` writes it. Raises UserError for no such model.

        Weights keep the precision they are stored in.
        """
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.prompt = source.prompt
        self._name, self._device = source.model, device
        self._search = {
            "num_beams": source.beam,
            "max_new_tokens": source.max_tokens,
            "do_sample": False,
        }
        self._model, about = self._read(
            AutoModelForImageTextToText.from_pretrained,
            folder,
            dtype="auto",
            output_loading_info=True,
        )
        if about["missing_keys"]:
            first = sorted(about["missing_keys"])[0]
            raise UserError(
                f"{source.model}: lacks {len(about['missing_keys'])} weights of "
                f"{type(self._model).__name__}, first {first}; name a model that is complete"
            )
        self._model.to(device).eval()
        self._processor = self._read(AutoProcessor.from_pretrained, folder)
        if isinstance(self._processor, ProcessorMixin):
            self._tokenizer = self._processor.tokenizer
        else:  # ViT with GPT-2 has none for both
            self._processor = self._read(AutoImageProcessor.from_pretrained, folder)
            self._tokenizer = self._read(AutoTokenizer.from_pretrained, folder)
        if not self._model.config.is_encoder_decoder:
            self._tokenizer.padding_side = "left"  # what is written continues the prompt
        self._question = self._asked()

    def _read(self, load: Callable[..., Any], folder: Path, **options: Any) -> Any:
        try:
            return load(folder, local_files_only=True, **options)
        except Exception as error:  # about anything, with pages of text
            raise UserError(
                f"{self._name}: no image-to-text model of transformers ({_line(error)}); "
                "name another"
            ) from error

    @torch.no_grad()
    def __call__(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[str]:
        """images: uint8, height x width x 3 each, any size."""
        words: dict[str, Any] = {}
        if self.prompt:
            words = {"text": [self._question] * len(images), "padding": True}
        try:
            pictures = [Image.fromarray(image) for image in images]
            inputs = self._processor(images=pictures, return_tensors="pt", **words)
            inputs = inputs.to(self._device, self._model.dtype)
            written = self._model.generate(**inputs, **self._search)
        except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            raise UserError(
                f"{self._name}: does not take images with the prompt '{self.prompt}' "
                f"({_line(error)}); change `prompt`"
            ) from error
        asked = inputs.get("input_ids")
        if asked is not None and torch.equal(written[:, : asked.shape[1]], asked):
            written = written[:, asked.shape[1] :]
        texts = self._tokenizer.batch_decode(written, skip_special_tokens=True)
        return [self._after_prompt(text.strip()) for text in texts]

    def _after_prompt(self, text: str) -> str:
        """Some models repeat the prompt and go on, BLIP in small letters."""
        repeats = text.lower().startswith(self.prompt.strip().lower())
        return text[len(self.prompt.strip()) :].strip() if repeats else text

    def _asked(self) -> str:
        """The prompt, for a model that chats as what a user says about an image."""
        if not getattr(self._processor, "chat_template", None):
            return self.prompt
        if not self.prompt:
            raise UserError(f"{self._name}: describes what it is asked; give it a `prompt`")
        content = [{"type": "image"}, {"type": "text", "text": self.prompt}]
        text: str = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        return text


def _line(error: Exception) -> str:
    """The first line: transformers explains at length."""
    return str(error).strip().split("\n")[0] or type(error).__name__
