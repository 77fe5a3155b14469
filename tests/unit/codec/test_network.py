"""Sizes, arms and text: what a codec can be built with, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tacolab.codec import Elic, Taco
from tacolab.codec.attention import AttentionKind

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


@pytest.mark.parametrize("rank", [0, 4])
def test_a_taco_takes_the_weights_beside_its_adapter_from_any_network(
    elic: Elic, taco: Taco, rank: int
) -> None:
    kind = AttentionKind("linformer", rank) if rank else AttentionKind()
    other = Taco(N=16, M=24, groups=(4, 8, 12), text_dim=32, attention=kind)
    drawn = other.adapter()
    for giver in (elic, taco):
        weights = other.without_adapter(giver.state_dict())
        assert len(weights) + len(drawn) == len(other.state_dict())
        other.load_state_dict(weights | drawn)
        # Each layer but the adapter's is the one that stood in its place there.
        inner = [
            layer
            for place, layer in enumerate(other.g_a.analysis_transform)
            if place not in ADAPTER
        ]
        theirs = [
            layer
            for place, layer in enumerate(giver.g_a.analysis_transform)
            if giver is elic or place not in ADAPTER
        ]
        assert [states(layer) for layer in inner] == [states(layer) for layer in theirs]
        assert states(other.g_s) == states(giver.g_s)


ADAPTER = (8, 14, 15)


def states(layer: nn.Module) -> dict[str, list[float]]:
    return {name: value.flatten().tolist() for name, value in layer.state_dict().items()}


def test_contexts_have_the_widths_that_a_file_tells(elic: Elic) -> None:
    small = Elic(N=16, M=24, groups=(4, 8, 12), contexts=(6, 10))
    again = Elic.from_state_dict(small.state_dict())
    assert [p.shape for p in again.parameters()] == [p.shape for p in small.parameters()]
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in elic.parameters())


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
