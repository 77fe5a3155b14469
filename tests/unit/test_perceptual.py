"""LPIPS is its authors' to the bit, as a metric and as a loss, and begins without torchvision."""

import subprocess
import sys
import warnings

import lpips
import pytest
import torch

from tacolab.errors import UserError
from tacolab.quality import perceptual
from tacolab.quality.perceptual import Lpips

SLICES = ("slice1.0", "slice2.3", "slice3.6", "slice4.8", "slice5.10")


@pytest.fixture(scope="module")
def pair() -> tuple[lpips.LPIPS, Lpips]:
    """The package's network with our trunk, and ours."""
    ours = Lpips()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecated arguments
        theirs = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    trunk = {
        f"{name}.{what}": ours.get_buffer(f"{buffer}{i}")
        for i, name in enumerate(SLICES)
        for what, buffer in (("weight", "kernel"), ("bias", "bias"))
    }
    theirs.net.load_state_dict(trunk)
    return theirs.requires_grad_(False).eval(), ours


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_distance_and_gradient_are_those_of_the_package(
    pair: tuple[lpips.LPIPS, Lpips], size: tuple[int, int]
) -> None:
    theirs, ours = pair
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 3, *size, generator=generator)
    x_hat = x + 0.1 * torch.randn(x.shape, generator=generator)
    x_hat.requires_grad_()
    for range_ in ("published", "standard"):
        expected = theirs(x, x_hat, normalize=range_ == "standard").flatten()
        found = ours(x, x_hat, range_)
        assert torch.equal(found, expected)
        gradients = [torch.autograd.grad(value.sum(), x_hat)[0] for value in (found, expected)]
        assert torch.equal(*gradients)


def test_nothing_of_it_is_trained() -> None:
    assert list(Lpips().parameters()) == []


@pytest.mark.parametrize("pin", ["ALEXNET_SHA256", "HEADS_SHA256"])
def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, pin: str) -> None:
    monkeypatch.setattr(perceptual, pin, "0" * 64)
    with pytest.raises(UserError, match="not the weights that LPIPS is defined with"):
        Lpips()


def test_training_and_metrics_begin_without_torchvision() -> None:
    code = (
        "import sys, tacolab.stages.train.loop, tacolab.stages.evaluate.score\n"
        "assert not {'torchvision', 'torch._dynamo', 'lpips'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
