"""The kinds of attention: what they compute, cost, and can be read back from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tacolab.codec import Elic, Taco
from tacolab.codec.attention import HEADS, AttentionKind, FullAttention, Linformer
from tacolab.codec.network import load_network
from tacolab.errors import UserError

Sample = Callable[..., tuple[Tensor, Tensor]]

KODAK = Path(__file__).parents[3].parent / "shared" / "data" / "kodak"
SMALL: dict[str, Any] = {"N": 16, "M": 24, "groups": (4, 8, 12), "text_dim": 32, "text_tokens": 7}
TEXT = {"kind": "clip"}  # of a key: the codec reads text
LINEAR = AttentionKind(kind="linformer", rank=5)
SHARED = AttentionKind(kind="linformer", rank=5, shared=True)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def written_out(layer: nn.MultiheadAttention, queries: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V as on paper, head by head; k and v already mixed, if at all."""
    weights, biases = layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3)
    q, k, v = (x @ w.T + b for x, w, b in zip((queries, k, v), weights, biases, strict=True))
    heads = []
    for q_h, k_h, v_h in zip(*(x.chunk(HEADS, dim=-1) for x in (q, k, v)), strict=True):
        logits = q_h @ k_h.transpose(1, 2) / q_h.shape[-1] ** 0.5
        heads.append(torch.softmax(logits, -1) @ v_h)
    out: Tensor = torch.cat(heads, -1) @ layer.out_proj.weight.T + layer.out_proj.bias
    return out


@torch.no_grad()
@pytest.mark.parametrize("fused", [False, True])
def test_full_attention_is_the_formula(fused: bool) -> None:
    layer = FullAttention(32, fused)
    nn.init.normal_(layer.in_proj_bias)
    queries, tokens = numbers(2, 9, 32), numbers(2, 3, 4, 32, seed=1)
    flat = tokens.reshape(2, 12, 32)
    expected = written_out(layer, queries, flat, flat)
    assert torch.allclose(layer(queries, tokens), expected, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("shared", [False, True])
def test_linformer_is_the_formula_on_mixtures_of_the_tokens(shared: bool) -> None:
    layer = Linformer(32, (3, 4), rank=5, shared=shared)
    queries, tokens = numbers(2, 9, 32), numbers(2, 3, 4, 32, seed=1)
    flat = tokens.reshape(2, 12, 32)
    keys = layer.key_mixture @ flat
    values = keys if layer.value_mixture is None else layer.value_mixture @ flat
    assert shared == (layer.value_mixture is None)
    expected = written_out(layer, queries, keys, values)
    assert torch.allclose(layer(queries, tokens), expected, atol=1e-6)


@torch.no_grad()
def test_linformer_takes_a_larger_grid_by_averages() -> None:
    """Each token repeated 2 x 3 times is the same picture, only larger."""
    layer = Linformer(32, (3, 4), rank=5, shared=False)
    queries, tokens = numbers(2, 9, 32), numbers(2, 3, 4, 32, seed=1)
    larger = tokens.repeat_interleave(2, dim=1).repeat_interleave(3, dim=2)
    assert torch.allclose(layer(queries, larger), layer(queries, tokens), atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("attention", "height", "width", "tokens"),
    [
        (LINEAR, 1, 1, 1),
        (LINEAR, 65, 257, 300),
        (SHARED, 200, 70, 7),
        (AttentionKind(kind="sdpa"), 70, 1, 5),
    ],
)
def test_any_picture_and_any_text_is_coded(
    attention: AttentionKind, height: int, width: int, tokens: int, sample: Sample
) -> None:
    torch.manual_seed(0)
    model = Taco(**SMALL, attention=attention).eval()
    model.update(force=True)
    x, _ = sample(height, width)
    text = numbers(1, tokens, 32)
    encoded = model.encode(x, text)
    x_hat, checksum = model.decode(encoded.strings, encoded.shape)
    assert checksum == encoded.checksum
    assert torch.allclose(x_hat, model(x, text)["x_hat"], atol=1e-4)


@pytest.mark.skipif(not KODAK.is_dir(), reason=f"no Kodak pictures at {KODAK}")
def test_linear_attention_trained_on_crops_codes_a_whole_photo(tmp_path: Path) -> None:
    torch.manual_seed(0)
    photo = np.asarray(Image.open(KODAK / "kodim01.png").convert("RGB"))
    x = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 255
    model = Taco(**SMALL, attention=LINEAR)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    before = {name: value.clone() for name, value in model.named_parameters()}
    for step in range(3):
        crop = x[..., 64 * step : 64 * step + 256, :256]
        out = model(crop, numbers(1, 7, 32, seed=step))
        bits = sum(-p.log2().sum() for p in out["likelihoods"].values())
        (bits / 256**2 + 100 * (out["x_hat"] - crop).square().mean()).backward()
        adam.step()
        adam.zero_grad()
    mixtures = {n: v for n, v in model.named_parameters() if n.endswith("_mixture")}
    assert len(mixtures) == 6  # two of each Injector and of the Extractor
    # Behind gamma, which starts at 0, they learn from the second step on.
    assert not any(torch.equal(value, before[name]) for name, value in mixtures.items())

    path = tmp_path / "model.safetensors"
    save_file(model.exported(), path)
    loaded = load_network(path, {"text": TEXT, "attention": asdict(LINEAR)})
    text = numbers(1, 7, 32)
    encoded = loaded.encode(x, text)
    x_hat, checksum = loaded.decode(encoded.strings, encoded.shape)
    assert checksum == encoded.checksum and x_hat.shape == (1, 3, 512, 768)
    assert not torch.equal(loaded.g_a(x, text), loaded.g_a(x, text.flip(2)))


@pytest.mark.parametrize("attention", [LINEAR, SHARED])
def test_linear_attention_is_read_from_the_weights(
    attention: AttentionKind, sample: Sample
) -> None:
    torch.manual_seed(0)
    model = Taco(**SMALL, attention=attention).eval()
    loaded = Taco.from_state_dict(model.state_dict()).eval()
    x, text = sample(64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.g_a(x, text), model.g_a(x, text))
    with pytest.raises(ValueError, match=r"extra .*key_mixture"):
        Taco.from_state_dict(model.state_dict(), attention=AttentionKind())


@pytest.mark.parametrize("kind", ["softmax", "sdpa"])
def test_a_model_codes_without_the_matrix_of_weights_whichever_it_was_trained_with(
    kind: Any, taco: Taco, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(taco.exported(), path)
    spec = {"text": TEXT} if kind == "softmax" else {"text": TEXT, "attention": {"kind": kind}}
    layers = [m for m in load_network(path, spec).modules() if isinstance(m, FullAttention)]
    assert [layer.fused for layer in layers] == [True] * 3


def test_a_file_of_another_attention_is_refused(taco: Taco, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(taco.exported(), path)
    with pytest.raises(UserError, match=r"no weights of a Taco codec .*linformer"):
        load_network(path, {"text": TEXT, "attention": asdict(LINEAR)})
    with pytest.raises(UserError, match=r"no weights of a Elic codec"):
        load_network(path, {"text": None})


def products(attention: AttentionKind, tokens: int) -> tuple[float, float]:
    """Multiply-adds of the published encoder for 256 x 256 pixels: of attention itself, of all.

    Attention itself: Q K^T and its product with V, the batched products.
    """
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model: Elic = Taco(text_tokens=tokens, attention=attention)
        model.h_a(model.g_a(torch.empty(1, 3, 256, 256), torch.empty(1, tokens, 512)))
    counts = counter.get_flop_counts()["Global"]
    return counts[torch.ops.aten.bmm] / 2, counter.get_total_flops() / 2


@pytest.mark.parametrize(("tokens", "percent"), [(38, 0.64), (77, 1.3), (248, 4.0)])
def test_linear_attention_replaces_a_small_part_of_the_encoder(tokens: int, percent: float) -> None:
    attending, everything = products(AttentionKind(), tokens)
    assert 100 * attending / everything == pytest.approx(percent, rel=0.03)
    # Rank 16 positions instead of the text's, and of the image's 1,024 in the Extractor
    less, _ = products(AttentionKind(kind="linformer", rank=16), tokens)
    n_early, n_late, width, text_width, rank = 64**2, 32**2, 192, 512, 16
    assert attending == 2 * tokens * ((n_early + n_late) * width + n_late * text_width)
    assert less == 2 * rank * ((n_early + n_late) * width + tokens * text_width)
