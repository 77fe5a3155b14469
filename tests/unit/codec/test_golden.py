"""The published network's outputs, for inputs that can be made again anywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tacolab.codec import Elic, Taco
from tacolab.codec.attention import AttentionKind

GOLDEN = Path(__file__).parents[3].parent / "shared" / "golden"
TOLERANCE = 1e-4  # of the array's largest value
CASES = {"square": (1, 128, 128), "wide": (2, 64, 192)}  # seed, H, W

# What the published network returned: mean, standard deviation, largest magnitude; bits.
PUBLISHED = {
    "square": {
        "y": (0.15567941, 1.1293763, 5.6433191),
        "z": (0.013667672, 0.37218212, 1.2555994),
        "x_hat": (-0.38547969, 2.9111026, 15.782926),
        "y_bits": 256222.594,
        "z_bits": 1250.94336,
    },
    "wide": {
        "y": (0.16696128, 1.1083843, 5.3217382),
        "z": (0.0026440876, 0.24376975, 0.82877636),
        "x_hat": (-0.35904608, 2.7848359, 14.440099),
        "y_bits": 192004.344,
        "z_bits": 189.240585,
    },
}


def golden_input(case: str) -> tuple[Tensor, Tensor]:
    """The uint8 picture (bicubic noise) and the text of a golden file, made anew."""
    seed, height, width = CASES[case]
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 3, height // 16, width // 16, generator=generator)
    image = F.interpolate(noise, size=(height, width), mode="bicubic").clamp(0, 1)
    text = torch.randn(1, 38, 512, generator=generator)
    return (image * 255).round().to(torch.uint8), text


@pytest.fixture(scope="module")
def published(filled: Callable[[Elic], Elic]) -> Taco:
    model = Taco()
    filled(model)
    return model.eval()


def run(model: Elic, image: Tensor, text: Tensor) -> dict[str, npt.NDArray[np.float32]]:
    with torch.no_grad():
        x = image.float() / 255
        y = model.g_a(x, text)
        out = model(x, text)
    bits = {k: -v.double().log2().sum() for k, v in out["likelihoods"].items()}
    tensors = {
        "y": y,
        "z": model.h_a(y),
        "x_hat": out["x_hat"],
        "y_bits": bits["y"],
        "z_bits": bits["z"],
    }
    return {k: v.detach().numpy() for k, v in tensors.items()}


@pytest.mark.parametrize("case", CASES)
def test_scalars_equal_the_published_ones(published: Taco, case: str) -> None:
    found = run(published, *golden_input(case))
    for name, expected in PUBLISHED[case].items():
        if isinstance(expected, tuple):
            mean, std, largest = expected
            assert found[name].mean(dtype=np.float64) == pytest.approx(
                mean, abs=TOLERANCE * largest
            )
            assert found[name].std(dtype=np.float64) == pytest.approx(std, abs=TOLERANCE * largest)
            assert np.abs(found[name]).max() == pytest.approx(largest, rel=TOLERANCE)
        else:
            assert found[name] == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no golden files at {GOLDEN}")
@pytest.mark.parametrize("case", CASES)
def test_arrays_equal_the_published_ones(published: Taco, case: str) -> None:
    golden = np.load(GOLDEN / f"taco_{case}.npz")
    image, text = golden_input(case)
    assert np.array_equal(golden["image"], image) and np.array_equal(golden["text"], text)
    for name, value in run(published, image, text).items():
        deviation = np.abs(value - golden[name]).max() / np.abs(golden[name]).max()
        print(f"{case} {name}: {deviation:.1e} of the largest value")
        assert deviation < TOLERANCE


def test_published_network_has_its_number_of_parameters(published: Taco) -> None:
    everything = sum(p.numel() for p in published.parameters())
    adapter = everything - sum(p.numel() for p in Elic().parameters())
    assert (everything, adapter) == (38_579_275, 1_646_848)


@pytest.mark.parametrize("case", CASES)
def test_fused_attention_is_the_published_function(published: Taco, case: str) -> None:
    fused = Taco.from_state_dict(
        published.state_dict(), attention=AttentionKind(kind="sdpa")
    ).eval()
    image, text = golden_input(case)
    with torch.no_grad():
        x = image.float() / 255
        y, same = published.g_a(x, text), fused.g_a(x, text)
    assert (same - y).abs().max() < 1e-5 * y.abs().max()
    assert not torch.equal(same, y)  # another way of computing: the kinds are not one code path
