"""The gallery: originals and the reconstructions of every arm and lambda, pixel for pixel."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tacolab.config import OWN, Study
from tacolab.plan import Artefact
from tacolab.stages.report.input_files import examples
from tacolab.stages.report.inputs import Inputs
from tacolab.stages.report.page import weighted_words
from tacolab.stages.report.page.weighted_words import Word


@dataclass(frozen=True)
class GalleryPicture:
    """A PNG below the report's folder and its size in pixels."""

    file: str
    width: int
    height: int


@dataclass(frozen=True)
class Reconstruction:
    """What one model made of a photo, with the numbers of that coding.

    words: its caption, with the weight of each piece where the arm has token weights. stand_in:
    whether the arm is one, which says nothing about where arms differ.
    """

    arm: str
    stand_in: bool
    lmbda: str
    picture: GalleryPicture
    row: dict[str, Any]
    words: list[Word]


@dataclass(frozen=True)
class GalleryPhoto:
    """An original and its reconstructions by rising lambda, then in the config's order of arms."""

    dataset: str
    image_id: str
    original: GalleryPicture
    reconstructions: list[Reconstruction]

    @property
    def change(self) -> float:
        """How much LPIPS differs between arms at the lambda where it differs most, relatively."""
        by_lmbda: dict[str, list[float]] = {}
        for one in self.reconstructions:
            if one.stand_in:
                continue
            by_lmbda.setdefault(one.lmbda, []).append(float(one.row["lpips_published"]))
        spreads = [(max(v) - min(v)) * len(v) / (sum(v) or 1.0) for v in by_lmbda.values()]
        return max(spreads, default=0.0)


def write(study: Study, inputs: Inputs, folder: Path) -> list[GalleryPhoto]:
    """Writes gallery/**.png below `folder`, at the study's seed; what changed most is first."""
    shown: dict[tuple[str, str], GalleryPhoto] = {}
    for artefact in inputs.evaluations:
        if artefact.names["control"] != OWN or artefact.names["seed"] != str(study.seed):
            continue
        weights = weighted_words.of(artefact)
        for example in examples(artefact):
            dataset, name = artefact.names["dataset"], example.image_id
            if (dataset, name) not in shown:
                original = _save(folder, f"{dataset}/original", name, example.original)
                shown[dataset, name] = GalleryPhoto(dataset, name, original, [])
            picture = _save(folder, f"{dataset}/{_model(artefact)}", name, example.decoded)
            arm, lmbda = artefact.names["arm"], artefact.names["lmbda"]
            caption = example.row.get("caption")
            pieces = weighted_words.split(caption, weights.get(name)) if caption else []
            stand_in = bool(study.arms[arm].stand_in)
            one = Reconstruction(arm, stand_in, lmbda, picture, example.row, pieces)
            shown[dataset, name].reconstructions.append(one)
    arms = list(study.arms)
    for photo in shown.values():
        photo.reconstructions.sort(key=lambda one: (float(one.lmbda), arms.index(one.arm)))
    return sorted(shown.values(), key=lambda photo: -photo.change)


def _model(artefact: Artefact) -> str:
    return "-".join(artefact.names[name] for name in ("arm", "lmbda", "seed"))


def _save(folder: Path, below: str, image_id: str, content: bytes) -> GalleryPicture:
    # Quoted, since an image's name may hold anything, a slash included.
    file = f"gallery/{below}/{quote(image_id, safe='')}.png"
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    width, height = struct.unpack(">II", content[16:24])  # PNG's first chunk
    return GalleryPicture(file, width, height)
