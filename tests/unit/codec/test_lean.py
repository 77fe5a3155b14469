"""A job begins without the parts of CompressAI that no codec uses, and has what it would have."""

import subprocess
import sys

WITHOUT = """
import sys
import tacolab.codec.taco
packages = ("torch_geometric", "numba", "transformers", "torchvision")
heavy = {*packages, "torch._dynamo", "compressai.zoo", "scipy.stats._continuous_distns"}
print(*sorted(heavy & sys.modules.keys()))
"""
WITH = """
import torch
from tacolab.codec.elic import SCALES
import compressai.zoo
from compressai.models.base import get_scale_table
import scipy.stats
assert scipy.stats.norm.ppf(0.5) == 0
assert compressai.zoo.bmshj2018_factorized and torch.equal(SCALES, get_scale_table())
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_codec_loads_no_more_than_it_uses() -> None:
    assert run(WITHOUT) == ""


def test_latents_are_coded_without_compressai() -> None:
    """As on machines for which there is none."""
    code = "import sys, tacolab.codec.latent_codec as _; print('compressai' in sys.modules)"
    assert run(code) == "False"


def test_the_rest_is_there_for_whoever_imports_it() -> None:
    run(WITH)
