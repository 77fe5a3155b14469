"""State dicts: what loads, and what is said about the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from authors_file import state_dict
from tacolab.codec import Elic, Taco
from tacolab.codec.attention import AttentionKind
from tacolab.codec.weights import READ_FROM

Sample = Callable[..., tuple[Tensor, Tensor]]


@pytest.mark.parametrize("arm", ["taco", "elic"])
def test_round_trip(arm: str, request: pytest.FixtureRequest, sample: Sample) -> None:
    model: Elic = request.getfixturevalue(arm)
    loaded = type(model).from_state_dict(model.state_dict())
    assert (loaded.N, loaded.M, loaded.groups) == (16, 24, (4, 8, 12))
    x, text = sample(64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(x, text)["x_hat"], model(x, text)["x_hat"])


def test_an_authors_file_loads_and_its_tables_are_not_believed(taco: Taco) -> None:
    weights = state_dict(taco)
    assert "module.entropy_bottleneck._matrix0" in weights
    weights["module.gaussian_conditional._quantized_cdf"].fill_(1)
    loaded = Taco.from_state_dict(weights)
    mine = dict(loaded.named_parameters())
    assert all(torch.equal(p, mine[n]) for n, p in taco.named_parameters())
    assert loaded.gaussian_conditional.quantized_cdf.numel() == 0
    assert loaded.update()
    assert loaded.gaussian_conditional.quantized_cdf.max() > 1


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module.module.", "_orig_mod.module.", "module._orig_mod."]
)
def test_what_wrapped_a_network_leaves_no_trace_in_its_names(taco: Taco, prefix: str) -> None:
    """DataParallel, DistributedDataParallel, torch.compile, in any order, also of parts."""
    weights = {
        (prefix + name).replace("h_a.", f"h_a.{prefix}"): value
        for name, value in taco.state_dict().items()
    }
    mine = dict(Taco.from_state_dict(weights).named_parameters())
    assert all(torch.equal(p, mine[n]) for n, p in taco.named_parameters())


def test_two_networks_in_one_state_dict_are_not_mixed(elic: Elic) -> None:
    name = "g_a.analysis_transform.0.weight"
    weights = elic.state_dict() | {f"module.{name}": elic.state_dict()[name] + 1}
    with pytest.raises(ValueError, match=rf"two of its tensors are {name}"):
        Elic.from_state_dict(weights)


def test_everything_that_does_not_fit_is_listed(taco: Taco) -> None:
    weights = taco.state_dict()
    del weights["g_s.synthesis_transform.14.bias"]
    del weights["local_context.1.bias"]
    weights["ema.decay"] = torch.zeros(1)
    weights["h_a.reduction.0.weight"] = torch.zeros(16, 7, 3, 3)
    with pytest.raises(ValueError) as error:
        Taco.from_state_dict(weights)
    assert str(error.value).splitlines() == [
        "this state dict does not fit Taco(N=16, M=24, groups=(4, 8, 12), contexts=(224, 128), "
        "text_dim=32):",
        "  missing (2): g_s.synthesis_transform.14.bias, local_context.1.bias",
        "  extra (1): ema.decay",
        "  wrong shape (1): h_a.reduction.0.weight is (16, 7, 3, 3), must be (16, 24, 3, 3)",
        f"  {READ_FROM}",
    ]


DEFINING = {
    "g_a.analysis_transform.0.weight": "tells N",
    "g_s.synthesis_transform.1.weight": "tells M",
    "local_context.0.weight": "tells the size of a channel group",
    "local_context.2.weight": "tells the size of a channel group",
    "channel_context.1.fushion.0.weight": "tells the width of channel contexts",
    "g_a.analysis_transform.8.text_feature_dim_proj.weight": "tells text_dim",
    "g_a.analysis_transform.8.cross_attn.key_mixture": "tells the attention's rank and text_tokens",
}


@pytest.mark.parametrize("name", DEFINING)
def test_a_tensor_that_defines_a_size_is_named_where_it_is_missing_or_damaged(name: str) -> None:
    linear = AttentionKind(kind="linformer", rank=4)
    weights = Taco(16, 24, (4, 8, 12), text_dim=32, attention=linear).state_dict()
    damaged = weights | {name: weights[name].flatten()}
    with pytest.raises(ValueError, match=rf"{name} is \(\d+,\), must have .*{DEFINING[name]}"):
        Taco.from_state_dict(damaged)
    del weights[name]
    with pytest.raises(ValueError, match=rf"has no {name}, whose shape {DEFINING[name]}"):
        Taco.from_state_dict(weights)


def test_sizes_that_do_not_go_together_are_said_to_be_the_files(elic: Elic) -> None:
    lost = {k: v for k, v in elic.state_dict().items() if not k.startswith("local_context.2.")}
    with pytest.raises(ValueError, match=r"no network: .* \(4, 8\) .*groups from local_context"):
        Elic.from_state_dict(lost)


@pytest.mark.parametrize("N", [40_000, 2**40])
def test_a_width_without_its_weights_takes_no_memory(elic: Elic, N: int) -> None:
    """A tensor of a few numbers may say any size."""
    crafted = dict(elic.state_dict())
    crafted["g_a.analysis_transform.0.weight"] = torch.zeros(1).expand(N, 3, 5, 5)
    with pytest.raises(ValueError, match=r"does not fit Elic\(N=40000|this state dict is of no"):
        Elic.from_state_dict(crafted)


def test_the_other_arms_weights_are_refused(taco: Taco, elic: Elic) -> None:
    with pytest.raises(ValueError, match=r"missing .*g_a\.analysis_transform\.8\.gamma"):
        Taco.from_state_dict(elic.state_dict())
    with pytest.raises(ValueError, match=r"extra .*g_a\.analysis_transform\.8\.gamma"):
        Elic.from_state_dict(taco.state_dict())


def test_a_whole_checkpoint_is_not_a_state_dict(elic: Elic) -> None:
    with pytest.raises(ValueError, match="entry 'state_dict'"):
        Elic.from_state_dict({"state_dict": elic.state_dict(), "epoch": 3})  # type: ignore[dict-item]
