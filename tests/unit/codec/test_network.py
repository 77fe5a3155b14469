"""Sizes, arms and text: what a codec can be built with, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tacolab.codec import Elic, Taco

Sample = Callable[..., tuple[Tensor, Tensor]]


@pytest.mark.parametrize("groups", [(8,), (2, 6), (1, 1, 2, 2, 1, 1)])
def test_any_number_of_groups_works(groups: tuple[int, ...], sample: Sample) -> None:
    model = Taco(N=8, M=8, groups=groups, text_dim=32).eval()
    out = model(*sample(40, 70))
    assert out["x_hat"].shape == (1, 3, 40, 70)
    assert out["likelihoods"]["y"].shape == (1, 8, 4, 8)
    assert out["likelihoods"]["z"].shape == (1, 8, 1, 2)


def test_elic_is_taco_without_the_adapter(elic: Elic, taco: Taco) -> None:
    without_analysis = {n: p.shape for n, p in elic.named_parameters() if not n.startswith("g_a")}
    assert without_analysis == {
        n: p.shape for n, p in taco.named_parameters() if not n.startswith("g_a")
    }
    adapter = {"8", "14", "15"}
    assert [p.shape for p in elic.g_a.parameters()] == [
        p.shape for n, p in taco.g_a.named_parameters() if n.split(".")[1] not in adapter
    ]


def test_elic_ignores_the_text_and_taco_does_not(elic: Elic, taco: Taco, sample: Sample) -> None:
    x, text = sample(64, 64)
    with torch.no_grad():
        assert torch.equal(elic(x, text)["x_hat"], elic(x)["x_hat"])
        assert not torch.equal(taco(x, text)["x_hat"], taco(x, text.flip(1, 2))["x_hat"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"N": 16, "M": 24, "groups": (4, 8, 11)}, r"sum to M=24, their sum is 23"),
        ({"N": 16, "M": 24, "groups": ()}, "groups"),
        ({"N": 16, "M": 24, "groups": (24, 0)}, "positive"),
        ({"N": 15, "M": 24, "groups": (24,)}, "N=15"),
        ({"N": 12, "M": 24, "groups": (24,)}, "multiples of 8"),
        ({"N": 16, "M": 24, "groups": (24,), "text_dim": 300}, "text_dim=300"),
    ],
)
def test_wrong_sizes_are_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Taco(**arguments)


def test_text_that_does_not_fit_is_refused(taco: Taco, sample: Sample) -> None:
    x, text = sample(64, 64)
    with pytest.raises(ValueError, match="needs the text"):
        taco(x)
    with pytest.raises(ValueError, match=r"must be \(1, tokens, 32\)"):
        taco(x, text[..., :24])
    with pytest.raises(ValueError, match="a row per picture"):
        taco(x, text.repeat(2, 1, 1))
