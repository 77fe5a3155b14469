"""Reads what the other stages wrote: one tidy frame of images, one of curve points, the models.

A point's numbers are the mean over an image's captions first, then over the images, so that an
image with more captions weighs no more than another.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd

from tacolab.config import Study
from tacolab.errors import UserError
from tacolab.files import intact
from tacolab.files.texts import loads
from tacolab.plan import Artefact
from tacolab.plan.stages import ANCHORS, DISTRIBUTION, IMPORTED, METRICS, TIMING, TRAIN
from tacolab.stages.report import training
from tacolab.stages.report.training import Training

IDENTITY = ["dataset", "kind", "source", "lmbda", "quality", "seed", "control"]
SECONDS = ["encode_seconds", "decode_seconds"]
VALUES = [
    "bpp_real",
    "bpp_est",
    "psnr",
    "ms_ssim",
    "lpips_published",
    "lpips",
    *SECONDS,
]
UNROUNDED = ["psnr_float", "lpips_published_float"]  # of models that others trained
DISTANCES = ["fid", "fid_low", "fid_high", "cmmd", "cmmd_low", "cmmd_high"]
BEST = ["best_of", "bpp_real_best", "psnr_best", "lpips_published_best", "lpips_best"]
SAMPLES = "fid_samples"  # images or patches behind a FID
WITHOUT = ["fid_without", "cmmd_without"]  # each group of images, for intervals of differences
MODELS = (TRAIN, IMPORTED)
ARM, ANCHOR = "arm", "anchor"


@dataclass(frozen=True)
class Model:
    """A model, trained or imported: its artefact and its model.json."""

    artefact: Artefact
    info: dict[str, Any]

    @property
    def arm(self) -> str:
        return self.artefact.names["arm"]

    @property
    def lmbda(self) -> str:
        return self.artefact.names["lmbda"]

    @property
    def seed(self) -> str:
        return self.artefact.names["seed"]


@dataclass(frozen=True)
class Example:
    """An original beside its reconstruction, as PNG bytes, with the numbers of that one coding."""

    artefact: Artefact
    image_id: str
    row: dict[str, Any]
    original: bytes
    decoded: bytes


@dataclass(frozen=True)
class Inputs:
    """Everything the report shows.

    images: a row per image of every coding, averaged over its captions (IDENTITY, image_id,
        captions, height, width, VALUES). points: a row per coding of a data set (IDENTITY, images,
        captions, VALUES, UNROUNDED, BEST, DISTANCES, SAMPLES). Rates in bit per pixel, PSNR in dB,
        times in seconds. BEST: of each image the caption that an oracle would keep, by LPIPS.
        groups: a row per group of images of every coding with FID or CMMD (IDENTITY without kind
        and quality, group, size, WITHOUT). timing: rows of stage `timing`. trainings: what they
        left, also unfinished ones. missing: what the config means and is not there. excluded:
        data set -> images that are too small for it, where that is known.
    """

    images: pd.DataFrame
    points: pd.DataFrame
    groups: pd.DataFrame
    timing: pd.DataFrame
    models: list[Model]
    trainings: list[Training]
    evaluations: list[Artefact]
    missing: list[Artefact]
    provenance: list[dict[str, Any]]
    excluded: dict[str, int]


def needed(artefact: Artefact) -> list[Path]:
    """The files that are read: a copy of results/ without the weights makes a report too."""
    if artefact.stage in MODELS:
        return [path for path in artefact.files if path.suffix == ".json"]
    return artefact.files


def read(study: Study, report: Artefact, partial: bool = False) -> Inputs:
    """Reads all inputs of a report. Raises UserError naming the first missing or damaged file.

    partial: what is missing is left out, and listed.
    """
    ordered = sorted(report.inputs.values(), key=lambda artefact: _place(study, artefact))
    missing = []
    for artefact in ordered:
        gone = [path for path in needed(artefact) if not path.exists()]
        if gone and not partial:
            raise UserError(
                f"{gone[0]} is missing and the report shows it; `snakemake --profile ...` makes "
                "what is missing, and with `report_now` a report without it"
            )
        if gone:
            missing.append(artefact)
    there = [artefact for artefact in ordered if artefact not in missing]
    models = [Model(a, json_of(needed(a)[0])) for a in there if a.stage in MODELS]
    evaluations = [a for a in there if a.stage is METRICS]
    codings: list[pd.DataFrame] = []
    for artefact in there:
        if artefact.stage is METRICS:
            codings.append(_arm_images(artefact))
        elif artefact.stage is ANCHORS:
            codings += _anchor_images(artefact)
    if not codings and not partial:
        raise UserError(
            "protocol.datasets is empty: nothing was evaluated that a report could show"
        )
    points = pd.DataFrame(
        [_point(coding) for coding in codings],
        columns=[*IDENTITY, "images", "captions", *VALUES, *UNROUNDED],
    )
    best = [_coding(a) | _summary(a, BEST) for a in evaluations]
    points = points.merge(_floats(best, BEST), on=_CODING, how="left")
    distances = [a for a in there if a.stage is DISTRIBUTION]
    timings = [rows(a) for a in there if a.stage is TIMING]
    described = [a for a in there if a.stage not in MODELS]
    provenance = [model.info.get("provenance", {}) for model in models]
    provenance += [json_of(a.description).get("provenance", {}) for a in described]
    return Inputs(
        images=pd.concat(codings, ignore_index=True) if codings else pd.DataFrame(columns=_IMAGES),
        points=_with_distances(points, distances),
        groups=_groups(distances),
        timing=pd.concat(timings, ignore_index=True) if timings else pd.DataFrame(),
        models=models,
        trainings=[training.read(a) for a in ordered if a.stage is TRAIN],
        evaluations=evaluations,
        missing=missing,
        provenance=provenance,
        excluded=_excluded(evaluations),
    )


def _excluded(evaluations: list[Artefact]) -> dict[str, int]:
    """As the packed data says; a copy of results/ may be without it."""
    data = {a.names["dataset"]: a.inputs["data"] for a in evaluations}
    known = {name: one.path for name, one in data.items() if one.path.exists()}
    return {name: json_of(path).get("excluded", {}).get("count", 0) for name, path in known.items()}


_IMAGES = [*IDENTITY, "image_id", "captions", "height", "width", *VALUES, *UNROUNDED]


def _with_distances(points: pd.DataFrame, artefacts: list[Artefact]) -> pd.DataFrame:
    """The points with FID and CMMD and their intervals, where they were measured."""
    names = [*DISTANCES, SAMPLES]
    found = _floats([_coding(a) | _summary(a, names) for a in artefacts], names)
    return points.merge(found, on=_CODING, how="left")


def _summary(artefact: Artefact, names: list[str]) -> dict[str, Any]:
    """Numbers of a whole coding, from its description."""
    summary = json_of(artefact.description).get("summary", {})
    return {name: summary.get(name) for name in names}


def _floats(rows: list[dict[str, Any]], names: list[str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[*_CODING, *names]).astype(dict.fromkeys(names, float))


def _groups(artefacts: list[Artefact]) -> pd.DataFrame:
    """FID and CMMD without each group of images, where they were measured."""
    found = []
    for artefact in artefacts:
        summary = json_of(artefact.path).get("summary", {})
        for group, size in enumerate(summary.get("group_sizes", [])):
            row = {"group": group, "size": size}
            for name in WITHOUT:
                values = summary.get(name, [])
                row[name] = values[group] if group < len(values) else None
            found.append(_coding(artefact) | row)
    frame = pd.DataFrame(found, columns=[*_CODING, "group", "size", *WITHOUT])
    return frame.astype(dict.fromkeys(WITHOUT, float))


_CODING = ["dataset", "source", "lmbda", "seed", "control"]


def _coding(artefact: Artefact) -> dict[str, Any]:
    names = artefact.names
    coding = {name: names[name] for name in ("dataset", "lmbda", "seed", "control")}
    return coding | {"source": names["arm"]}


def rows(artefact: Artefact) -> pd.DataFrame:
    """A row per image and caption of an evaluation, as it was measured."""
    path = artefact.path
    intact.check(path, artefact.files[1], _REMEDY)
    with intact.reading(path, _REMEDY):
        return pd.read_parquet(path)


def examples(artefact: Artefact) -> Iterator[Example]:
    """The example reconstructions of one evaluation; captioned codecs show their first caption."""
    path = artefact.files[2]
    codings = rows(artefact).sort_values("index", kind="stable").drop_duplicates("image_id")
    with intact.reading(path, _REMEDY), zipfile.ZipFile(path) as archive:
        members = set(archive.namelist())
        for row in codings.to_dict("records"):
            pictures = [f"{kind}/{row['image_id']}.png" for kind in _KINDS]
            if members.intersection(pictures):
                yield Example(
                    artefact,
                    str(row["image_id"]),
                    {str(name): value for name, value in row.items()},
                    *(archive.read(name) for name in pictures),
                )


_KINDS = ("original", "decoded")


def _place(study: Study, artefact: Artefact) -> tuple[Any, ...]:
    """Where an input stands in tables: by data set, arm and control of the config, then lambda."""
    names = artefact.names
    datasets, arms = list(study.protocol.datasets), list(study.arms)
    if artefact.stage is ANCHORS:
        return (1, datasets.index(names["dataset"]), len(arms), names["codec"])
    if artefact.stage is TIMING:
        return (2, names["machine"])
    arm = (arms.index(names["arm"]), Decimal(names["lmbda"]), int(names["seed"]))
    if artefact.stage in MODELS:
        return (0, *arm)
    controls = study.controls(names["arm"], names["dataset"])
    return (
        1,
        datasets.index(names["dataset"]),
        arm[0],
        controls.index(names["control"]),
        *arm[1:],
    )


def _arm_images(artefact: Artefact) -> pd.DataFrame:
    names = artefact.names
    identity = {
        "dataset": names["dataset"],
        "kind": ARM,
        "source": names["arm"],
        "lmbda": names["lmbda"],
        "quality": None,
        "seed": names["seed"],
        "control": names["control"],
    }
    return _per_image(rows(artefact), identity)


def _anchor_images(artefact: Artefact) -> Iterator[pd.DataFrame]:
    for quality, part in rows(artefact).groupby("quality", sort=True):
        identity = {
            "dataset": artefact.names["dataset"],
            "kind": ANCHOR,
            "source": artefact.names["codec"],
            "lmbda": None,
            "quality": str(quality),
            "seed": None,
            "control": None,
        }
        yield _per_image(part.assign(bpp_est=float("nan")), identity)


def _per_image(codings: pd.DataFrame, identity: dict[str, str | None]) -> pd.DataFrame:
    """The mean over an image's captions."""
    codings = codings.assign(**{n: float("nan") for n in UNROUNDED if n not in codings})
    codings = codings.astype(dict.fromkeys([*VALUES, *UNROUNDED], float))
    by_image = codings.groupby("image_id", sort=False)
    images = by_image[[*VALUES, *UNROUNDED]].mean()
    images.insert(0, "captions", by_image.size())
    for at, side in enumerate(("height", "width"), start=1):
        images.insert(at, side, by_image[side].first())
    images = images.reset_index()
    for at, (name, value) in enumerate(identity.items()):
        images.insert(at, name, pd.Series([value] * len(images), dtype=object))
    return images


def _point(images: pd.DataFrame) -> dict[str, Any]:
    """The mean over images; empty where no image has the value. Of times the median: a process
    that was stopped for a while spoils a mean."""
    identity = {name: images[name].iloc[0] for name in IDENTITY}
    counts = {"images": len(images), "captions": int(images["captions"].sum())}
    means = {name: images[name].mean() for name in (*VALUES, *UNROUNDED)}
    medians = {name: images[name].median() for name in SECONDS}
    return identity | counts | means | medians


def json_of(path: Path) -> dict[str, Any]:
    """An artefact's description. Raises UserError where it is damaged."""
    with intact.reading(path, _REMEDY):
        content = loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("no description")
    return content


_REMEDY = "delete it and run `snakemake` again"
