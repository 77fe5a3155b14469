"""OFA computes what its authors' code computes, from weights with their names."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tacolab.stages.captions.network.ofa_network import REBUILT, OfaNetwork, Shape
from tacolab.stages.captions.network.ofa_search import beam_search

GOLDEN = Path(__file__).parents[3] / "../shared/golden/ofa"
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason=f"{GOLDEN} is not there")


def golden(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text())


def by_recipe(names: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Random weights, each from a generator that its name seeds."""
    weights = {}
    for name, value in names.items():
        if not value.is_floating_point():
            weights[name] = value
            continue
        shared = "embed_tokens" in name or "output_projection" in name
        key = "decoder.embed_tokens.weight" if shared else name
        generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
        r = torch.randn(value.shape, generator=generator)
        if key.endswith("running_var"):
            weights[name] = torch.exp(0.2 * r)
        elif key.endswith("running_mean"):
            weights[name] = 0.1 * r
        elif "c_attn" in key:
            weights[name] = 1 + 0.2 * r
        elif r.ndim == 1 and key.endswith("weight"):
            weights[name] = 1 + 0.1 * r
        elif r.ndim == 4 and "embed_images" in key:
            weights[name] = r / r[0].numel() ** 0.5
        else:
            weights[name] = (0.3 if shared else 0.15) * r
    return weights


@pytest.fixture(scope="module")
def network() -> OfaNetwork:
    network = OfaNetwork(Shape.read(golden("ofa_small.json")["config"])).eval()
    network.load_state_dict(by_recipe(network.state_dict()))
    return network


@pytest.fixture(scope="module")
def inputs() -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / "ofa_small.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


@needs_golden
@pytest.mark.parametrize("size", ["tiny", "large"])
def test_parameters_have_the_authors_names_and_shapes(size: str) -> None:
    known = golden(f"state_dict_{size}.json")
    config = known["config"]
    for part in ("encoder", "decoder"):
        config |= {f"{part}_attention_heads": config["heads"], f"{part}_ffn_dim": config["ffn"]}
    with torch.device("meta"):
        network = OfaNetwork(Shape.read(config))
    found = {name: list(value.shape) for name, value in network.state_dict().items()}
    assert found == {name: s for name, s in known["tensors"].items() if name not in REBUILT}
    assert set(known["tensors"]) >= REBUILT


@needs_golden
@torch.no_grad()
def test_states_and_logits_are_the_golden_ones(
    network: OfaNetwork, inputs: dict[str, torch.Tensor]
) -> None:
    states, padding, positions = network.encoder(inputs["image"], inputs["ids"])
    assert torch.equal(padding, inputs["encoder_pad"])
    there = ~padding
    assert (states - inputs["encoder_states"])[there].abs().max() < 1e-4
    memory = network.decoder.remember(states, padding, positions)
    logits, _ = network.decoder(inputs["decoder_ids"], memory)
    assert (logits - inputs["logits"]).abs().max() < 1e-4


@needs_golden
def test_beams_and_scores_are_the_golden_ones(
    network: OfaNetwork, inputs: dict[str, torch.Tensor]
) -> None:
    with torch.no_grad():
        memory = network.encode(inputs["image"], inputs["ids"])
    found = beam_search(network, memory, beam=5, max_tokens=16)
    for hypotheses, known in zip(found, golden("ofa_small.json")["beams"], strict=True):
        assert [list(h.tokens) for h in hypotheses] == [tokens for tokens, _ in known]
        assert [h.score for h in hypotheses] == pytest.approx([s for _, s in known], abs=1e-5)
