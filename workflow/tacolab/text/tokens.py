"""Captions -> token ids, mask and character spans, as a text encoder of the config reads them.

Arrays of numpy, so that token weights and their readers need no encoder. `transformers` is imported
when a tokenizer is loaded, and with it torch where that is installed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tacolab.config import ClipText, LongClipText, TextEncoder
from tacolab.errors import UserError
from tacolab.files.texts import refuse_half_characters
from tacolab.text.pretrained import locate, pretrained


@dataclass(frozen=True)
class Tokens:
    """B captions at the T positions that the encoder reads; T is `Tokenizer.positions`.

    ids: B x T, int64. Padding has the tokenizer's own padding token (CLIP: its end token, 49407).
    mask: B x T, int64. 1 = a token, begin and end included; 0 = padding.
    spans: B x T x 2, int32. First character of the caption and the one after the last, of each
        token; -1, -1 for begin, end and padding. The pieces of one character (emoji, rare scripts)
        all have its span.
    lengths: B, int64. Tokens of the whole caption without begin and end, also those cut off.
    """

    ids: npt.NDArray[np.int64]
    mask: npt.NDArray[np.int64]
    spans: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int64]


class Tokenizer:
    """Captions -> Tokens. A pickled object holds only the encoder's config.

    A caption is text through and through: where it spells a special token (`<|endoftext|>`,
    `[SEP]`, `</s>`) it has these characters, and does not end there.

    With `windows: n` the n consecutive pieces of a caption stand one after the other, each of up
    to max_tokens - 2 of its tokens between a begin and an end token, padded to max_tokens. Windows
    that the caption does not reach are begin, end, padding; what is beyond the last is cut.
    """

    def __init__(self, config: TextEncoder) -> None:
        """Raises UserError when the tokenizer is not there or has no padding token."""
        from transformers import AutoTokenizer

        self.config = config
        self.positions = config.positions
        self._windows = self.positions // config.max_tokens
        loaded = pretrained(AutoTokenizer, _source(config))
        if loaded.pad_token_id is None:
            raise UserError(f"text encoder {config.model}: its tokenizer has no padding token")
        self._backend = _text_only(loaded.backend_tokenizer)
        # Of a caption that is too long the library also gives what follows, in pieces of the same
        # length with begin and end tokens of their own: these are the windows.
        self._backend.enable_truncation(config.max_tokens, stride=0)
        self._backend.enable_padding(
            length=config.max_tokens, pad_id=loaded.pad_token_id, pad_token=loaded.pad_token
        )
        self._empty = self._backend.encode("")

    def __call__(self, captions: Sequence[str]) -> Tokens:
        """Any number of captions, also none. Raises UserError for one that is no Unicode text."""
        for caption in captions:
            refuse_half_characters(caption, "a caption")
        pieces = [[e, *e.overflowing] for e in self._backend.encode_batch(list(captions))]
        read = [
            piece
            for whole in pieces
            for piece in (whole + [self._empty] * self._windows)[: self._windows]
        ]
        shape = (len(pieces), self.positions)
        special = np.array([p.special_tokens_mask for p in read], bool).reshape(shape)
        spans = np.array([p.offsets for p in read], np.int32).reshape(*shape, 2)
        spans[special] = -1
        return Tokens(
            ids=np.array([p.ids for p in read], np.int64).reshape(shape),
            mask=np.array([p.attention_mask for p in read], np.int64).reshape(shape),
            spans=spans,
            lengths=np.array(
                [sum(p.special_tokens_mask.count(0) for p in whole) for whole in pieces], np.int64
            ),
        )

    def text(self, ids: Sequence[int]) -> list[str]:
        """The pieces as the vocabulary spells them, for people."""
        return [str(self._backend.id_to_token(int(i))).removesuffix(" ") for i in ids]

    def __reduce__(self) -> tuple[Callable[[TextEncoder], Tokenizer], tuple[TextEncoder]]:
        return tokenizer_of, (self.config,)


def _text_only(backend: Any) -> Any:
    """The same tokenizer of the library `tokenizers`, to which special tokens are but text."""
    backend.encode_special_tokens = True  # the library's word for "encode as other text"
    specials = {i: t.content for i, t in backend.get_added_tokens_decoder().items() if t.special}
    if not any(i in backend.encode(s, add_special_tokens=False).ids for i, s in specials.items()):
        return backend
    # The model itself (SentencePiece's, as of T5) also finds them among its pieces. There they get
    # names that no text has, since it splits at spaces; their ids stay.
    unfindable = {name: f"{name} " for name in specials.values()}
    state = json.loads(backend.to_str())
    for token in state["added_tokens"]:
        token["content"] = unfindable.get(token["content"], token["content"])
    model = state["model"]
    if "unk_token" in model:
        model["unk_token"] = unfindable.get(model["unk_token"], model["unk_token"])
    if isinstance(model["vocab"], dict):
        model["vocab"] = {unfindable.get(name, name): i for name, i in model["vocab"].items()}
    else:
        model["vocab"] = [[unfindable.get(name, name), score] for name, score in model["vocab"]]
    renamed = type(backend).from_str(json.dumps(state))
    renamed.encode_special_tokens = True
    return renamed


def tokenizer_of(config: TextEncoder) -> Tokenizer:
    """The tokenizer of an encoder. Raises UserError when it is not there."""
    return Tokenizer(config)


def _source(config: TextEncoder) -> str:
    """Hub name or folder of the tokenizer."""
    if isinstance(config, LongClipText) and Path(config.model).suffix == ".pt":
        return ClipText(kind="clip").model  # the authors' file holds weights alone; same tokens
    return locate(config.model)
