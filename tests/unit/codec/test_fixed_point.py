"""The layers in fixed point are those of torch, and never lose a bit."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tacolab.codec import Elic, byte_products
from tacolab.codec.checkerboard import Colour, anchor_mask, neighbours, put, take
from tacolab.codec.fixed_point import (
    LIMIT,
    UNIT,
    Convolution,
    Neighbours,
    OutOfRangeError,
    Pointwise,
    Upsampling,
)

FINE = 2.0**-16

sides = st.integers(1, 7)
evens = st.integers(1, 4).map(lambda half: 2 * half)
quick = settings(max_examples=30, deadline=None)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fixed(x: Tensor) -> Tensor:
    return (x.double() / FINE).round() * FINE


def units(x: Tensor) -> Tensor:
    return (x.double() / UNIT).round()


def settled(sums: Tensor) -> Tensor:
    return sums.round().clamp(-LIMIT, LIMIT)


@quick
@given(st.integers(1, 3), sides, sides, st.sampled_from([3, 5]))
def test_a_convolution_is_torchs(B: int, h: int, w: int, side: int) -> None:
    weight, bias, x = numbers(6, 4, side, side), numbers(6, seed=1), units(numbers(B, 4, h, w))
    expected = F.conv2d(x, fixed(weight), fixed(bias / UNIT), padding=side // 2)
    layer = Convolution("", weight.permute(2, 3, 1, 0), bias, rectified=True)
    found = layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    assert torch.equal(found, settled(expected).relu())


@quick
@given(st.integers(1, 3), sides, sides)
def test_upsampling_is_torchs_transposed_convolution(B: int, h: int, w: int) -> None:
    weight, bias, x = numbers(4, 6, 5, 5), numbers(6, seed=1), units(numbers(B, 4, h, w))
    expected = F.conv_transpose2d(
        x, fixed(weight), fixed(bias / UNIT), stride=2, padding=2, output_padding=1
    )
    found = Upsampling("", weight, bias, rectified=False)(x.permute(0, 2, 3, 1))
    assert torch.equal(found.permute(0, 3, 1, 2), settled(expected))


@quick
@given(st.integers(1, 3), evens, evens)
def test_neighbours_are_those_of_the_other_colour(B: int, h: int, w: int) -> None:
    weight, bias, x = numbers(6, 4, 5, 5), numbers(6, seed=1), units(numbers(B, 4, h, w))
    anchors = x * anchor_mask(x)
    expected = settled(F.conv2d(anchors, fixed(weight), fixed(bias / UNIT), padding=2))
    table = neighbours(B, h, w, Neighbours.TAPS, x)
    found = Neighbours("", weight, bias)(take(x.permute(0, 2, 3, 1), Colour.ANCHOR), table)
    assert torch.equal(found, take(expected.permute(0, 2, 3, 1), Colour.NON_ANCHOR))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sums_that_are_allowed_are_exact(sign: int) -> None:
    """Compared with Python's integers, which have no size. One more weight would be refused."""
    count = 600
    weight = sign * torch.full((count, 1), (16777 - 2) / count) + FINE * numbers(count, 1)
    bias = torch.tensor([0.3])
    layer = Pointwise("a layer", weight, bias, rectified=False)
    whole = [round(w / FINE) for w in fixed(weight).flatten().tolist()]
    for shift in (0, 1, 12345):  # odd activations, which leave no bit at the end
        x = torch.full((1, count), LIMIT - shift, dtype=torch.float64)
        inside = torch.addmm(layer.bias, x, layer.weight)
        exact = sum(w * int(LIMIT - shift) for w in whole) + round(layer.bias.item() / FINE)
        assert int(inside.item() / FINE) == exact
        assert layer(x).item() == sign * LIMIT
    with pytest.raises(OutOfRangeError, match=r"a layer: .* must be below 16777"):
        Pointwise("a layer", torch.cat([weight, torch.full((1, 1), 3.0)]), bias, False)


@pytest.mark.parametrize("spread", [0.001, 0.1, 1.0, 50.0])  # weights of 1, 2, 3, 3 digits
@pytest.mark.parametrize("count", [1, 37, 300])
def test_digits_of_eight_bits_make_the_same_integers(spread: float, count: int) -> None:
    if not byte_products.available(torch.device("cpu")):
        pytest.skip("this processor has no exact units for 8 bits (VNNI)")
    weight = spread * numbers(count, 6).clamp(-2, 2)
    layer = Pointwise("", weight, numbers(6, seed=1), rectified=False)
    x = (numbers(50, count, seed=2) * LIMIT / 3).round().clamp(-LIMIT, LIMIT).double()
    x[:2], x[2:4] = LIMIT, -LIMIT
    parts = byte_products.digits(x)
    assert torch.equal(sum(256**i * part.double() for i, part in enumerate(parts)), x)
    assert layer.digits is not None
    found = layer.of_digits(parts)
    assert torch.equal(found, torch.addmm(layer.bias, x, layer.weight))


@pytest.mark.parametrize("damage", [float("nan"), float("inf"), 17000.0])
@pytest.mark.parametrize(
    "name",
    [
        "h_s.increase.2.weight",
        "channel_context.1.fushion.4.bias",
        "local_context.2.weight",
        "entropy_parameters_nonanchor.0.fusion.0.weight",
        "entropy_bottleneck.quantiles",
    ],
)
def test_a_model_that_cannot_be_coded_with_is_not_exported(
    elic: Elic, name: str, damage: float
) -> None:
    if name.endswith("bias") and damage == 17000:
        damage *= 4096  # is not multiplied with the largest activation
    with torch.no_grad():
        dict(elic.named_parameters())[name].view(-1)[5] = damage
        if "local_context" in name:  # a tap that is used
            dict(elic.named_parameters())[name].view(-1)[1] = damage
    with pytest.raises(OutOfRangeError, match=re.escape(name.rpartition(".")[0])):
        elic.exported()


@pytest.mark.parametrize("size", [(64, 64), (124, 263)])
def test_the_twins_compute_what_the_network_does(
    elic: Elic, size: tuple[int, int], sample: Callable[..., tuple[Tensor, Tensor]]
) -> None:
    """For the same symbols, up to some units of 2^-12."""
    elic.update(force=True)
    y, z = elic.latents(elic.features(sample(*size, batch=2)[0]))
    coded = elic.latent_codec().encode(y, z)
    strings = [[[a], [b]] for a, b in zip(coded.y_strings, coded.z_strings, strict=True)]
    y_hat, checksums = elic.decode_latents(strings, z.shape[-2:])
    assert checksums == coded.checksums
    groups = y_hat.split(list(elic.groups), dim=1)
    with torch.no_grad():
        hyper = elic.h_s(coded.z_hat)
        _, scales, means = elic.passes(hyper, lambda group, *_: groups[group])
    assert (in_passes(scales, elic) - coded.y_scales).abs().max() < 8 * UNIT
    symbols = in_passes(y_hat - means, elic)
    assert (symbols - coded.y_symbols).abs().max() < 8 * UNIT
    assert coded.y_symbols.abs().max() > 1 and scales.std() > 100 * UNIT


def in_passes(x: Tensor, elic: Elic) -> Tensor:
    """(B, M, h, w) in the order of `Coded`."""
    groups = x.permute(0, 2, 3, 1).split(list(elic.groups), dim=3)
    colours = (Colour.ANCHOR, Colour.NON_ANCHOR)
    return torch.cat([take(g, c).view(len(x), -1) for g in groups for c in colours], dim=1)


def test_colours_are_put_back_where_they_were_taken(sample: Callable[..., object]) -> None:
    x = numbers(2, 4, 6, 3)
    back = torch.empty_like(x)
    for colour in Colour:
        put(take(x, colour), back, colour)
    assert torch.equal(x, back)
