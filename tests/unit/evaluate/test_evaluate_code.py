"""Coding: real files in the published layout, a row each, and what rates are made of."""

import struct
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_evaluation import IDS, find, make, plan

from tacolab.captiontable import CaptionTable
from tacolab.codec.bitstream import unpack
from tacolab.codec.pixels import to_pixels, to_tensor
from tacolab.evaluate.code import load_model
from tacolab.evaluate.images import Images, spread
from tacolab.keys import Artefact
from tacolab.packed import Packed

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
        # The decoder shows what the encoder saw, and the estimate is that of the likelihoods.
        seen = model(to_tensor(packed.rgb(i), torch.device("cpu")))
        assert torch.allclose(x_hat, seen["x_hat"], atol=1e-4)
        for name, likelihood in seen["likelihoods"].items():
            bits = -likelihood.double().log2().sum().item()
            assert row[f"bits_{name}"] == pytest.approx(bits, rel=1e-4)
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


def test_more_captions_than_there_are_give_those_there_are() -> None:
    assert len(pd.read_parquet(make(plan(captions=9), "code").path)) == 5 * len(IDS)


def test_a_codec_without_text_codes_each_image_once_without_caption() -> None:
    rows = pd.read_parquet(make(plan(), "code", arm="image-only").path)
    assert list(rows["image_id"]) == IDS
    assert rows["caption"].isna().all()


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
