"""Tidy frames of what evaluations measured: of images, of curve points, of groups of images.

A point's numbers are the mean over an image's captions first, then over the images, so that an
image with more captions weighs no more than another.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from tacolab.quality.names import METRIC_NAMES

IDENTITY = ["dataset", "kind", "source", "lmbda", "quality", "seed", "control"]
SECONDS = ["encode_seconds", "decode_seconds"]
VALUES = ["bpp_real", "bpp_est", *METRIC_NAMES, *SECONDS]
UNROUNDED = ["psnr_float", "lpips_published_float"]  # of models that others trained
DISTANCES = ["fid", "fid_low", "fid_high", "cmmd", "cmmd_low", "cmmd_high"]
BEST = ["best_of", "bpp_real_best", "psnr_best", "lpips_published_best", "lpips_best"]
SAMPLES = "fid_samples"  # images or patches behind a FID
WITHOUT = ["fid_without", "cmmd_without"]  # each group of images, for intervals of differences
ARM, ANCHOR = "arm", "anchor"

ARM_CODING = ["dataset", "source", "lmbda", "seed", "control"]  # names a coding by an arm
_IMAGES = [*IDENTITY, "image_id", "captions", "height", "width", *VALUES, *UNROUNDED]

Names = Mapping[str, str]  # an artefact's place in the study
Summary = tuple[Names, Mapping[str, Any]]  # numbers of a whole coding, from its description


def arm_images(names: Names, rows: pd.DataFrame) -> pd.DataFrame:
    """A row per image that an arm coded; rows: one per image and caption, as measured."""
    return _per_image(rows, _coding(names) | {"kind": ARM})


def anchor_images(names: Names, rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """A frame for each quality of a classical codec, with a row per image."""
    for quality, part in rows.groupby("quality", sort=True):
        identity = {"dataset": names["dataset"], "kind": ANCHOR, "source": names["codec"]}
        part = part.assign(bpp_est=float("nan"))
        yield _per_image(part, identity | {"quality": str(quality)})


def _per_image(codings: pd.DataFrame, identity: Mapping[str, str]) -> pd.DataFrame:
    """The mean over an image's captions."""
    codings = codings.assign(**{n: float("nan") for n in UNROUNDED if n not in codings})
    codings = codings.astype(dict.fromkeys([*VALUES, *UNROUNDED], float))
    by_image = codings.groupby("image_id", sort=False)
    images = by_image[[*VALUES, *UNROUNDED]].mean()
    images["captions"] = by_image.size()
    images[["height", "width"]] = by_image[["height", "width"]].first()
    images = images.reset_index()
    for name in IDENTITY:
        images[name] = pd.Series([identity.get(name)] * len(images), dtype=object)
    return images[_IMAGES]


def images(codings: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All of them in one frame."""
    return pd.concat(codings, ignore_index=True) if codings else pd.DataFrame(columns=_IMAGES)


def points(
    codings: Iterable[pd.DataFrame], evaluated: Iterable[Summary], distances: Iterable[Summary]
) -> pd.DataFrame:
    """A row per coding. codings: their images. evaluated: with BEST; distances: with DISTANCES,
    where they were measured."""
    columns = [*IDENTITY, "images", "captions", *VALUES, *UNROUNDED]
    frame = pd.DataFrame([_point(coding) for coding in codings], columns=columns)
    for summaries, names in ((evaluated, BEST), (distances, [*DISTANCES, SAMPLES])):
        frame = frame.merge(_summaries(summaries, names), on=ARM_CODING, how="left")
    return frame


def _point(images: pd.DataFrame) -> dict[str, Any]:
    """The mean over images; empty where no image has the value. Of times the median: a process
    that was stopped for a while spoils a mean."""
    identity = {name: images[name].iloc[0] for name in IDENTITY}
    counts = {"images": len(images), "captions": int(images["captions"].sum())}
    means = {name: images[name].mean() for name in (*VALUES, *UNROUNDED)}
    medians = {name: images[name].median() for name in SECONDS}
    return identity | counts | means | medians


def _summaries(summaries: Iterable[Summary], names: list[str]) -> pd.DataFrame:
    rows = [
        _coding(place) | {name: summary.get(name) for name in names} for place, summary in summaries
    ]
    return pd.DataFrame(rows, columns=[*ARM_CODING, *names]).astype(dict.fromkeys(names, float))


def groups(distances: Iterable[Summary]) -> pd.DataFrame:
    """FID and CMMD without each group of images, where they were measured."""
    found = []
    for place, summary in distances:
        for group, size in enumerate(summary.get("group_sizes", [])):
            row: dict[str, Any] = {"group": group, "size": size}
            for name in WITHOUT:
                values = summary.get(name, [])
                row[name] = values[group] if group < len(values) else None
            found.append(_coding(place) | row)
    frame = pd.DataFrame(found, columns=[*ARM_CODING, "group", "size", *WITHOUT])
    return frame.astype(dict.fromkeys(WITHOUT, float))


def _coding(names: Names) -> dict[str, str]:
    coding = {name: names[name] for name in ("dataset", "lmbda", "seed", "control")}
    return coding | {"source": names["arm"]}
