"""Training mode: whose noise it is, what it depends on, and which weights learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tacolab.codec import Taco

Sample = Callable[..., tuple[Tensor, Tensor]]


def fixed_noise(seeds: range) -> Callable[[Tensor], Tensor]:
    """Noise of its own for every sample, whatever batch it is in."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def noise(like: Tensor) -> Tensor:
        rows = [torch.rand(like.shape[1:], generator=g) - 0.5 for g in generators]
        return torch.stack(rows)

    return noise


def rate_and_distortion(out: dict[str, Any], x: Tensor) -> Tensor:
    bits = -sum(likelihood.log2().sum() for likelihood in out["likelihoods"].values())
    loss: Tensor = bits / x.numel() + (out["x_hat"] - x).square().mean()
    return loss


def test_noise_is_drawn_for_z_and_then_for_y(taco: Taco, sample: Sample) -> None:
    shapes = []

    def noise(like: Tensor) -> Tensor:
        shapes.append(tuple(like.shape))
        return torch.zeros_like(like)

    x, text = sample(64, 128, batch=2)
    taco.train()(x, text, noise=noise)
    assert shapes == [(2, 16, 1, 2), (2, 24, 4, 8)]
    taco.eval()(x, text, noise=noise)
    assert len(shapes) == 2


def test_the_same_noise_gives_the_same_result(taco: Taco, sample: Sample) -> None:
    taco.train()
    x, text = sample(64, 64, batch=2)
    first, second, other = (
        taco(x, text, noise=fixed_noise(range(s, s + 2)))["likelihoods"] for s in (0, 0, 7)
    )
    for latent in ("y", "z"):
        assert torch.equal(first[latent], second[latent])
        assert not torch.equal(first[latent], other[latent])


def test_default_noise_follows_the_global_seed(taco: Taco, sample: Sample) -> None:
    taco.train()
    x, text = sample(64, 64)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(taco(x, text)["likelihoods"]["y"])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_a_sample_does_not_depend_on_its_batch(taco: Taco, sample: Sample) -> None:
    taco.train()
    x, text = sample(64, 64, batch=8)
    whole = taco(x, text, noise=fixed_noise(range(8)))["likelihoods"]
    halves = [
        taco(x[part], text[part], noise=fixed_noise(range(part.start, part.stop)))["likelihoods"]
        for part in (slice(0, 4), slice(4, 8))
    ]
    for latent in ("y", "z"):
        together = torch.cat([half[latent] for half in halves])
        torch.testing.assert_close(together, whole[latent], rtol=1e-4, atol=1e-5)


def test_every_weight_learns(taco: Taco, sample: Sample) -> None:
    taco.train()
    x, text = sample(64, 128, batch=2)
    rate_and_distortion(taco(x, text), x).backward()
    quantiles = taco.entropy_bottleneck.quantiles
    assert quantiles.grad is None  # they have a loss, and an optimiser, of their own
    taco.aux_loss().backward()
    for name, weight in taco.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all() and weight.grad.any(), name


def test_rounding_is_the_same_in_training_and_eval(taco: Taco, sample: Sample) -> None:
    x, text = sample(64, 64)
    with torch.no_grad():
        assert torch.equal(taco.train()(x, text)["x_hat"], taco.eval()(x, text)["x_hat"])
