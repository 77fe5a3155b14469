"""The gallery: originals beside the reconstructions of every arm and lambda, pixel for pixel."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tacolab.config import OWN, Study
from tacolab.keys import Artefact
from tacolab.report.inputs import Inputs, examples


@dataclass(frozen=True)
class Picture:
    """A PNG below the report's folder and its size in pixels."""

    file: str
    width: int
    height: int


@dataclass(frozen=True)
class Reconstruction:
    """What one model made of a photo, with the numbers of that coding."""

    arm: str
    lmbda: str
    picture: Picture
    row: dict[str, Any]


@dataclass(frozen=True)
class Photo:
    """An original and its reconstructions by rising lambda, then in the config's order of arms."""

    dataset: str
    image_id: str
    original: Picture
    reconstructions: dict[str, list[Reconstruction]]


def write(study: Study, inputs: Inputs, folder: Path) -> list[Photo]:
    """Writes gallery/**.png below `folder`, at the study's seed only; returns what to show."""
    shown: dict[tuple[str, str], Photo] = {}
    for artefact in inputs.evaluations:
        if artefact.names["control"] != OWN or artefact.names["seed"] != str(study.seed):
            continue
        for example in examples(artefact):
            dataset, name = artefact.names["dataset"], example.image_id
            if (dataset, name) not in shown:
                original = _save(folder, f"{dataset}/original", name, example.original)
                shown[dataset, name] = Photo(dataset, name, original, {})
            by_lmbda = shown[dataset, name].reconstructions
            picture = _save(folder, f"{dataset}/{_model(artefact)}", name, example.decoded)
            arm, lmbda = artefact.names["arm"], artefact.names["lmbda"]
            by_lmbda.setdefault(lmbda, []).append(Reconstruction(arm, lmbda, picture, example.row))
    datasets = list(study.protocol.datasets)
    photos = sorted(shown.values(), key=lambda photo: datasets.index(photo.dataset))
    for photo in photos:
        ordered = sorted(photo.reconstructions.items(), key=lambda item: float(item[0]))
        photo.reconstructions.clear()
        photo.reconstructions.update(ordered)
    return photos


def _model(artefact: Artefact) -> str:
    return "-".join(artefact.names[name] for name in ("arm", "lmbda", "seed"))


def _save(folder: Path, below: str, image_id: str, content: bytes) -> Picture:
    # Quoted, since an image's name may hold anything, a slash included.
    file = f"gallery/{below}/{quote(image_id, safe='')}.png"
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    width, height = struct.unpack(">II", content[16:24])  # PNG's first chunk
    return Picture(file, width, height)
