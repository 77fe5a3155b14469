"""Multiply-adds of the published network, against the study's own figures and by hand."""

import pytest
import torch

from tacolab.config import Attention, Timing
from tacolab.config.models import CodecSize
from tacolab.stages.timing.counts import attention_products, multiply_adds
from tacolab.stages.timing.points import SWEEP, WIDTHS, Point
from tacolab.stages.timing.workloads import WideInjector

TIMING = Timing(machines={"here": ""})
PUBLISHED = CodecSize()
SOFTMAX, SDPA, LINFORMER = TIMING.attention


def encoder(tokens: int, side: int = 256) -> Point:
    return Point(SWEEP, "encoder", 1, tokens, side)


def count(point: Point, attention: Attention = SOFTMAX) -> int:
    return multiply_adds(point, attention, TIMING, PUBLISHED)


@pytest.mark.parametrize(("tokens", "percent"), [(38, 0.64), (77, 1.3), (248, 4.0)])
def test_the_share_that_grows_with_the_text_is_that_of_the_study(
    tokens: int, percent: float
) -> None:
    point = encoder(tokens)
    share = attention_products(point, SOFTMAX, TIMING, PUBLISHED) / count(point)
    assert 100 * share == pytest.approx(percent, abs=0.05 if tokens > 38 else 0.005)


def test_nothing_is_quadratic() -> None:
    """Four times the pixels are four times the work; equal steps of text cost equally."""
    products = [
        attention_products(encoder(38, side), SOFTMAX, TIMING, PUBLISHED) for side in (256, 512)
    ]
    assert products[1] == 4 * products[0]
    by_text = [count(encoder(tokens)) for tokens in (100, 200, 300)]
    assert by_text[2] - by_text[1] == by_text[1] - by_text[0] > 0


def test_the_products_are_what_torch_counts_beside_the_projections() -> None:
    """The three attentions alone: their projections by hand, the rest is along the sequences."""
    T, early, late, N, W = 77, 64**2, 32**2, 192, 512
    injectors = 2 * N * N * (early + T) + 2 * N * N * (late + T)  # of queries and results, of keys
    extractor = 2 * W * W * (T + late)
    point = Point(SWEEP, "attention", 1, T, 256)
    for attention in (SOFTMAX, SDPA):
        counted = multiply_adds(point, attention, TIMING, PUBLISHED)
        products = attention_products(point, attention, TIMING, PUBLISHED)
        assert counted == injectors + extractor + products
    # Linformer projects mixtures instead of tokens.
    rank = LINFORMER.rank
    fewer = 2 * N * N * (early + rank) + 2 * N * N * (late + rank) + 2 * W * W * (T + rank)
    products = attention_products(point, LINFORMER, TIMING, PUBLISHED)
    assert multiply_adds(point, LINFORMER, TIMING, PUBLISHED) == fewer + products


def test_coder_and_decoder_have_one_transform_each() -> None:
    whole, compress, decompress, g_a = (
        count(Point(SWEEP, part, 1, 38, 256))
        for part in ("forward", "compress", "decompress", "encoder")
    )
    assert g_a < compress < whole and decompress < whole
    assert compress - g_a < decompress  # the hyperprior and the contexts are in both
    training = count(Point(SWEEP, "training", 1, 38, 256))
    assert 2.9 * whole < training < 3.1 * whole


def test_wider_injectors_change_only_themselves() -> None:
    """Twice the channels: both kinds pay four times for projections, twice along the sequence."""
    narrow, wide = (Point(WIDTHS, "forward", 1, 38, 256, factor) for factor in (1, 2))
    for attention in (SOFTMAX, LINFORMER):
        extra = count(wide, attention) - count(narrow, attention)
        assert 0 < extra < 0.1 * count(narrow, attention)
    torch.manual_seed(0)
    injector = WideInjector(8, 3, 16, 5, SOFTMAX)
    image = torch.randn(2, 8, 4, 6)
    out = injector(image, torch.randn(2, 5, 16))
    assert out.shape == image.shape
    assert injector.cross_attn.embed_dim == 24
