"""What is computed in tiles is what would be computed at once, without seams."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tacolab.codec import Elic, tiles
from tacolab.codec.precision import Precision, lower

Sample = Callable[..., tuple[Tensor, Tensor]]


@pytest.mark.parametrize("arm", ["taco", "elic"])
@pytest.mark.parametrize("size", [(400, 330), (130, 700)])
@torch.no_grad()
def test_a_large_picture_is_coded_and_shown_as_without_tiles(
    arm: str,
    size: tuple[int, int],
    request: pytest.FixtureRequest,
    sample: Sample,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model: Elic = request.getfixturevalue(arm)
    model.update(force=True)
    x, text = sample(*size)
    y, z = model.latents(model.features(x), text)
    y_hat, _ = model.decode_latents([model.encode(x, text).strings], z.shape[-2:])
    x_hat = model.synthesise(y_hat, *size)
    monkeypatch.setattr(tiles, "TILE", 128)
    sides = []
    first = next(layer for layer in model.g_a.modules() if isinstance(layer, torch.nn.Conv2d))
    first.register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].shape[-2:]))
    tiled_y, tiled_z = model.latents(model.features(x), text)
    assert len(sides) > 4 and max(max(side) for side in sides) <= 128 + 2 * 48
    assert (tiled_y - y).abs().max() < 1e-4 and (tiled_z - z).abs().max() < 1e-4
    assert (model.synthesise(y_hat, *size) - x_hat).abs().max() < 1e-4


@pytest.mark.parametrize("margin", ["MARGIN", "FINE_MARGIN"])
@torch.no_grad()
def test_a_margin_is_not_larger_than_it_must_be(
    margin: str, taco: Elic, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With less of it there are seams."""
    from tacolab.codec import taco as module

    monkeypatch.setattr(tiles, "TILE", 128)
    x, text = sample(400, 330)
    y, _ = taco.latents(taco.features(x), text)
    step = 8 if margin == "MARGIN" else 2
    monkeypatch.setattr(module, margin, getattr(module, margin) - step)
    assert (taco.latents(taco.features(x), text)[0] - y).abs().max() > 1e-4


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@torch.no_grad()
def test_lower_precision_decodes_any_file_and_shows_nearly_the_same(
    precision: Precision, taco: Elic, sample: Sample
) -> None:
    taco.update(force=True)
    x, text = sample(130, 200)
    encoded = taco.encode(x, text)
    whole, checksum = taco.decode(encoded.strings, encoded.shape)
    lower(taco, precision)
    shown, found = taco.decode(encoded.strings, encoded.shape)
    assert found == checksum == encoded.checksum
    assert shown.dtype == torch.float32
    error = (shown - whole).square().mean() / whole.square().mean()
    assert 0 < error < 1e-3
    other = taco.encode(x, text)
    assert other.bits_y == pytest.approx(encoded.bits_y, rel=0.02)
    assert taco.decode(other.strings, other.shape)[1] == other.checksum
