"""Coding: real files in the published layout, a row each, and what rates are made of."""

import json
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from small_evaluation import IDS, find, make, plan

from conftest import write_model
from tacolab import cli
from tacolab.codec.bitstream import pack, unpack
from tacolab.codec.container import unpack_container
from tacolab.codec.pixels import to_pixels, to_tensor
from tacolab.errors import UserError
from tacolab.plan import Artefact
from tacolab.readers.caption_table import CaptionTable
from tacolab.readers.networks import build_codec, build_text
from tacolab.readers.packed import Packed
from tacolab.readers.token_weight_table import WeightTable
from tacolab.stages.evaluate.code import load_model
from tacolab.stages.evaluate.images import Images, spread

pytestmark = pytest.mark.usefixtures("folder")


def streams(artefact: Artefact) -> dict[str, bytes]:
    with zipfile.ZipFile(artefact.files[1]) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_every_row_has_its_file_and_the_file_decodes() -> None:
    study = plan(crop=None, controls=[])  # whole photos, of sides that are no multiples of 64
    codes = make(study, "code", arm="image-only")
    rows = pd.read_parquet(codes.path)
    files = streams(codes)
    assert list(rows["image_id"]) == IDS
    assert list(files) == [f"{image_id}.0.bin" for image_id in IDS]
    model = load_model(codes, torch.device("cpu"))
    packed = Packed(codes.inputs["data"].folder)
    for i, (row, content) in enumerate(zip(rows.to_dict("records"), files.values(), strict=True)):
        assert row["bytes"] == len(content)
        # The published layout: H W zH zW 2 len_y, then the y string
        height, width, z_height, z_width, count, _ = struct.unpack(">6I", content[:24])
        assert (width, height) == packed.size(i) == (row["width"], row["height"])
        assert (z_height, z_width, count) == (-(-height // 64), -(-width // 64), 2)
        x_hat, checksum = model.decode(*unpack(content))
        assert checksum == row["checksum"]
        assert x_hat.shape == (1, 3, height, width)
        # The decoder shows what the encoder saw, and the estimate is that of the likelihoods; but
        # for latents at the edge of rounding in the networks' exact twins.
        seen = model(to_tensor(packed.rgb(i), torch.device("cpu")))
        assert (x_hat - seen["x_hat"]).square().mean() < 1e-3 * x_hat.square().mean()
        for name, likelihood in seen["likelihoods"].items():
            bits = -likelihood.double().log2().sum().item()
            assert row[f"bits_{name}"] == pytest.approx(bits, rel=1e-3)
    assert not (codes.folder / "state").exists()


def test_n_captions_give_n_files_per_image() -> None:
    codes = make(plan(captions=3), "code")
    rows = pd.read_parquet(codes.path)
    assert list(zip(rows["image_id"], rows["index"], strict=True)) == [
        (image_id, index) for image_id in IDS for index in range(3)
    ]
    table = CaptionTable(codes.inputs["captions"].path)
    for row in rows.to_dict("records"):
        assert row["caption"] == table.for_image(row["image_id"])[row["index"]]
    assert len(set(streams(codes).values())) == 9  # the captions do steer the encoder


def test_codes_say_how_much_of_the_captions_was_read() -> None:
    codes = make(plan(captions=1), "code")
    found = json.loads(codes.files[2].read_text())["tokens"]
    table = CaptionTable(codes.inputs["captions"].path)
    coded = [table.for_image(image_id)[0] for image_id in IDS]
    encoder = build_text(plan().study, "taco")
    assert encoder is not None
    lengths = encoder.tokenizer(coded).lengths
    assert found["captions"] == len(coded) and found["positions"] == 16
    assert found["mean_tokens"] == pytest.approx(lengths.mean(), abs=1e-3)
    assert found["captions_cut"] == pytest.approx((lengths > 14).mean(), abs=1e-6)


def test_more_captions_than_there_are_give_those_there_are() -> None:
    assert len(pd.read_parquet(make(plan(captions=9), "code").path)) == 5 * len(IDS)


def test_an_image_without_a_caption_is_refused_before_anything_is_coded() -> None:
    """A source may be allowed to miss some; tables of different images cannot be compared."""
    artefact = find(plan(), "code")
    path = artefact.inputs["captions"].path
    rows = pq.read_table(path)
    pq.write_table(rows.filter(pc.field("image_id") != IDS[1]), path)
    with pytest.raises(UserError, match=rf"no caption for 1 of {len(IDS)} images \({IDS[1]}"):
        make(plan(), "code")
    assert not artefact.folder.exists()


def test_a_codec_without_text_codes_each_image_once_without_caption() -> None:
    rows = pd.read_parquet(make(plan(), "code", arm="image-only").path)
    assert list(rows["image_id"]) == IDS
    assert rows["caption"].isna().all()


def test_token_weights_of_the_table_steer_the_encoder() -> None:
    codes = make(plan(), "code", arm="keywords")
    weights = WeightTable(codes.inputs["token_weights"].path)
    model = load_model(codes, torch.device("cpu"))
    minilm = build_text(plan().study, "keywords")
    assert minilm is not None
    x = to_tensor(Images(codes.inputs["data"], 64).rgb(0))
    written = streams(codes)
    captions = CaptionTable(codes.inputs["captions"].path).for_image(IDS[0])[:2]
    for index, caption in enumerate(captions):
        row = torch.tensor(weights.for_image(IDS[0]))[index : index + 1]
        assert {1, 1.5} <= set(row.unique().tolist()) <= {0, 1, 1.5}
        encoded = model.encode(x, minilm([caption], row)[0])
        assert written[f"{IDS[0]}.{index}.bin"] == pack(encoded.strings, encoded.shape)
        without = model.encode(x, minilm([caption], row.clamp(max=1))[0])
        assert without.strings != encoded.strings


def test_compress_weighs_a_caption_as_the_table_does(folder: Path) -> None:
    """The same picture and caption: the file of `compress` holds what coding wrote."""
    codes = make(plan(crop=None, captions=1), "code", arm="keywords")
    caption = CaptionTable(codes.inputs["captions"].path).for_image(IDS[0])[0]
    Image.fromarray(Images(codes.inputs["data"], None).rgb(0)).save("picture.png")
    model = codes.inputs["model"].path

    def compress(by: Path) -> None:
        command = ["compress", "picture.png", "-o", "out.taco", "--caption", caption, "--force"]
        command += ["--precision", "fp32"]  # as the study
        cli.app([*command, "--model", str(by)], standalone_mode=False)

    compress(model)
    found = unpack_container(Path("out.taco").read_bytes())
    assert pack(found.strings, found.shape) == streams(codes)[f"{IDS[0]}.0.bin"]

    alone = folder / "alone"
    shutil.copytree(model.parent, alone)
    copied = alone / model.name
    with pytest.raises(UserError, match="copy them beside the model"):
        compress(copied)
    for path in codes.inputs["model"].inputs["token_weights"].folder.glob("*.json"):
        shutil.copy(path, alone)
    Path("out.taco").unlink()
    compress(copied)
    assert unpack_container(Path("out.taco").read_bytes()) == found


def test_controls_code_their_own_captions() -> None:
    study = plan(captions=1)
    own = pd.read_parquet(make(study, "code").path)
    empty = pd.read_parquet(make(study, "code", control="empty").path)
    shuffled = pd.read_parquet(make(study, "code", control="shuffled").path)
    assert list(empty["caption"]) == [""] * len(IDS)
    assert sorted(shuffled["caption"]) == sorted(own["caption"])
    assert all(shuffled["caption"] != own["caption"])
    folders = {find(study, "code", control=c).folder for c in ("own", "empty", "shuffled")}
    assert len(folders) == 3


def test_coding_twice_gives_the_same_files(undisturbed: Path) -> None:
    study = plan()
    again = make(study, "code")
    first = undisturbed / again.folder
    with zipfile.ZipFile(first / "streams.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == streams(again)
    before = pd.read_parquet(first / "codes.parquet").drop(columns="encode_seconds")
    pd.testing.assert_frame_equal(
        before, pd.read_parquet(again.path).drop(columns="encode_seconds")
    )


@pytest.mark.parametrize("crop", [64, 255, 256])
def test_the_crop_is_the_centre(crop: int) -> None:
    data = find(plan(), "code").inputs["data"]
    whole, cropped = Images(data, None), Images(data, crop)
    for i in range(len(IDS)):
        all_pixels, pixels = whole.rgb(i), cropped.rgb(i)
        assert pixels.shape == (crop, crop, 3)
        top = (all_pixels.shape[0] - crop) // 2
        left = (all_pixels.shape[1] - crop) // 2
        assert np.array_equal(pixels, all_pixels[top:, left:][:crop, :crop])
        # As much is cut away above as below, but for an odd line.
        assert all_pixels.shape[0] - crop - 2 * top in (0, 1)


def test_pixels_survive_the_way_to_the_codec_and_back() -> None:
    pixels = np.arange(256 * 3, dtype=np.uint8).reshape(16, 16, 3)
    x = to_tensor(pixels, torch.device("cpu"))
    assert x.shape == (1, 3, 16, 16)
    assert np.array_equal(to_pixels(x), pixels)
    # Rounded, not cut, and clamped
    values = torch.tensor([-0.2, 0.49 / 255, 0.51 / 255, 254.6 / 255, 1.2])
    assert to_pixels(values.expand(1, 3, 1, 5))[0, :, 0].tolist() == [0, 0, 1, 255, 255]


def test_examples_are_spread_and_never_more_than_there_are() -> None:
    ids = [f"{i}.png" for i in range(10)]
    assert spread(ids, 0) == []
    assert spread(ids, 2) == ["0.png", "5.png"]
    assert spread(ids, 99) == ids


def test_an_exported_epoch_is_coded_with_its_own_weights(folder: Path) -> None:
    """It is what the other arm's training left after that epoch, named where it is gone."""
    arms = {
        "image-only": {"text": None, "captions": "human", "training": {"export_epochs": [1]}},
        "image@1": {"of": {"arm": "image-only", "epoch": 1}},
    }
    study = plan(controls=[], arms=arms)
    whole, early = (find(study, "code", arm) for arm in ("image-only", "image@1"))
    assert whole.inputs["model"] is early.inputs["model"]
    with pytest.raises(UserError, match=r"epoch-1\.safetensors is missing: the training leaves it"):
        load_model(early, torch.device("cpu"))
    model = early.inputs["model"]
    write_model(study, model)
    torch.manual_seed(99)
    weights = build_codec(study.study, "image-only").exported()
    save_file(weights, model.folder / "epoch-1.safetensors")
    codes = [make(study, "code", arm) for arm in ("image-only", "image@1")]
    assert streams(codes[0]) != streams(codes[1])
    loaded = load_model(codes[1], torch.device("cpu")).state_dict()
    convolutions = [name for name in weights if name.endswith(".weight")]
    assert convolutions and all(torch.equal(loaded[n], weights[n]) for n in convolutions)
