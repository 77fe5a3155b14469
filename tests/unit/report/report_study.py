"""A small study whose stages' files are written with known numbers, in their real formats."""

import io
import json
import zipfile
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from tacolab.files import intact
from tacolab.plan import Artefact, Plan
from tacolab.plan.stages import ANCHORS, IMPORTED, TRAIN

LAMBDAS = ["0.0008", "0.0016", "0.004", "0.009"]
# Changes of the study that draw little: one data set and one lambda.
SMALL_SET = {"protocol": {"baseline": "taco", "datasets": {"photos": {}}, "anchors": {}}}
SMALL = {"lambdas": ["0.0016"], **SMALL_SET}
# The same with an arm and a data set that the study makes claims about.
TEXT = {"text": "minilm", "captions": "human"}
CLAIMED = {
    "lambdas": ["0.0016"],
    "arms": {"taco": TEXT, "context": TEXT},
    "protocol": {"baseline": "taco", "datasets": {"kodak": {}}, "anchors": {}},
}
TOKENS = {
    "captions": 9,
    "positions": 38,
    "mean_tokens": 40.0,
    "tokens_cut": 0.25,
    "captions_cut": 0.5,
}
NASTY = "<script>alert('x')</script> a dog & a 🐕 | pipe"


def study(lambdas: list[str] | None = None, **changes: Any) -> dict[str, Any]:
    """The config as plain data: two arms, two data sets, one control, two anchors."""
    return {
        "title": "synthetic <study>",
        "note": "A demonstration, not a result & no claim.",
        "lambdas": lambdas or LAMBDAS,
        "datasets": {
            "train-set": {"kind": "samples", "photos": ["a", "b"], "min_side": 64},
            "kodak": {"kind": "samples", "photos": ["c", "d", "e"], "min_side": 64},
            "photos": {"kind": "samples", "photos": ["f"], "min_side": 64},
        },
        "captions": {"human": {"kind": "human"}, "empty": {"kind": "empty"}},
        "encoders": {"minilm": {"kind": "transformers", "model": "some/minilm", "width": 384}},
        "codec": {"N": 32, "M": 48, "groups": [4, 4, 8, 8, 24]},
        "training": {"dataset": "train-set", "crop": 64, "joint_weight": 0, "epochs": 3},
        "arms": {
            "taco": {"text": "minilm", "captions": "human", "extra_seeds": {"0.0016": [101]}},
            "image-only": {"text": None, "captions": "human"},
        },
        "protocol": {
            "baseline": "taco",
            "datasets": {"kodak": {"controls": ["empty"], "captions": 2}, "photos": {}},
            "anchors": {"jpeg": [5, 20, 40, 70, 90], "webp": [1, 10, 50, 75, 90]},
        },
        **changes,
    }


def png(shade: int, width: int = 192, height: int = 128) -> bytes:
    """A picture with something to see in it."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows + shade, columns + shade, rows + columns], axis=-1) % 256
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def quality(bpp: float) -> dict[str, float]:
    """Plausible measures that improve with the rate."""
    return {
        "psnr": 36.5 + 11.0 * np.log10(bpp),
        "ms_ssim": 1 - 0.012 / bpp,
        "lpips_published": 0.012 / np.sqrt(bpp),
        "lpips": 0.035 / np.sqrt(bpp),
    }


def row(image_id: str, index: int, bpp: float, offset: float) -> dict[str, Any]:
    """One image and caption; `offset` is added to the PSNR so that images differ."""
    values = quality(bpp)
    values["psnr"] += offset
    height, width = 128, 192
    return {
        "image_id": image_id,
        "index": index,
        "height": height,
        "width": width,
        "bytes": round(bpp * height * width / 8),
        "bpp_real": bpp,
        **values,
        "encode_seconds": 0.2 + bpp,
        "decode_seconds": 0.3 + bpp,
    }


def metrics_rows(artefact: Artefact, photos: list[str], captions: int) -> pd.DataFrame:
    """Rows of one evaluation: image-only needs 10 % more rate than taco at equal quality."""
    names = artefact.names
    base = 0.12 + 35 * float(names["lmbda"]) ** 0.9 + 0.004 * (int(names["seed"]) - 100)
    text = names["arm"] != "image-only"
    rows = []
    for number, photo in enumerate(photos):
        for index in range(captions if text else 1):
            bpp = base * (1 + 0.3 * number) + 0.001 * index
            one = row(photo, index, bpp, float(number))
            if names["control"] == "empty":
                one["lpips"] += 0.0002
            one["bpp_real"] *= 1.0 if text else 1.1
            caption = (NASTY if index == 0 else "another") if text else None
            caption = "" if names["control"] == "empty" else caption
            rows.append(one | {"caption": caption, "bpp_est": one["bpp_real"] * 0.99})
    return pd.DataFrame(rows)


def anchor_rows(artefact: Artefact, photos: list[str], qualities: list[int]) -> pd.DataFrame:
    """A classical codec with tails far beyond the arms' range."""
    loss = {"jpeg": 5.0, "webp": 3.0}[artefact.names["codec"]]
    rows = [
        row(photo, 0, 0.1 + q / 25, number - loss)
        | {"codec": artefact.names["codec"], "quality": q}
        for q in qualities
        for number, photo in enumerate(photos)
    ]
    frame = pd.DataFrame(rows).drop(columns="index")
    for name in ("lpips", "lpips_published"):
        frame[name] *= 3
    return frame


def measured_as(artefact: Artefact, rows: pd.DataFrame) -> None:
    """Lets an evaluation have measured these rows."""
    rows.to_parquet(artefact.path)
    described = json.loads(artefact.files[1].read_text())
    described["sha256"] = intact.sha256(artefact.path)
    artefact.files[1].write_text(json.dumps(described))


def fill(plan: Plan) -> None:
    """Writes every input of the report, as the stages do."""
    study = plan.study
    for artefact in plan.find("report").inputs.values():
        artefact.folder.mkdir(parents=True, exist_ok=True)
        made = {
            "created": f"2025-01-0{len(artefact.names)}T00:00:00+00:00",
            "revision": "abc123",
            "torch": "2.14.1",
            "slurm_job": None,
            "command": "tacolab",
        }
        described = {"key": artefact.key, "text": artefact.ingredients, "provenance": made}
        if artefact.stage in (TRAIN, IMPORTED):
            text = artefact.names["arm"] == "taco"
            described |= {
                **artefact.names,
                "seed": int(artefact.names["seed"]),
                "steps": 1200,
                "epochs": 3,
                "samples": 9600,
                "seconds": 90.0,
                "segments": 1,
                "validation": {
                    "best": {"step": 900, "loss": 1.25},
                    "last": {"step": 1200, "loss": 1.5},
                    "images": 5,
                },
                "tokens": TOKENS if text else None,
                "codec": {"parameters": 1234567, "adapter_parameters": 7654 if text else 0},
            }
            artefact.files[1].write_text(json.dumps(described))
            continue
        photos = study.datasets[artefact.names["dataset"]].photos  # type: ignore[union-attr]
        if artefact.stage is ANCHORS:
            rows = anchor_rows(artefact, photos, artefact.spec["qualities"])
        else:
            how = study.protocol.datasets[artefact.names["dataset"]]
            rows = metrics_rows(artefact, photos, how.captions)
        artefact.files[1].write_text(json.dumps(described))
        measured_as(artefact, rows)
        if artefact.stage is ANCHORS:
            continue
        with zipfile.ZipFile(artefact.files[2], "w") as archive:
            for number, photo in enumerate(photos[: artefact.spec["examples"]]):
                archive.writestr(f"original/{photo}.png", png(0))
                archive.writestr(f"decoded/{photo}.png", png(9 * number + 9))
