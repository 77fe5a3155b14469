"""FID and CMMD of a coding: how far all decoded images together are from all originals."""

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file, save_file

from tacolab.cluster.device import pick_device
from tacolab.codec.pixels import to_pixels
from tacolab.files import atomic, intact
from tacolab.files.parts import Part, Parts
from tacolab.files.progress import progress
from tacolab.plan import Artefact, Options, Plan
from tacolab.plan.provenance import describe
from tacolab.quality.cmmd import cmmd
from tacolab.quality.frechet import fid
from tacolab.quality.jackknife import GROUPS, grouped, interval
from tacolab.stages.evaluate.batches import ahead, parts
from tacolab.stages.evaluate.decode import StreamDecoder
from tacolab.stages.evaluate.features import ClipImages, Inception, patches
from tacolab.stages.evaluate.images import Images

Arrays = dict[str, npt.NDArray[Any]]


class Extract:
    """Pictures -> features. `spec`: that of the originals, which says what is wanted."""

    def __init__(self, spec: Mapping[str, Any], device: torch.device) -> None:
        self._fid = spec["fid"]
        self._inception = Inception(device) if spec["fid"] else None
        self._clip = ClipImages(spec["cmmd"], device) if spec["cmmd"] else None

    @property
    def stand_in(self) -> bool:
        """Whether the CLIP is another than the metric's."""
        return self._clip is not None and self._clip.stand_in

    def __call__(self, pictures: Sequence[np.ndarray]) -> Arrays:
        """inception: samples x 2048, clip: images x d, samples: of each image, for FID."""
        found: Arrays = {}
        if self._inception:
            split = [patches(p) if self._fid == "patches" else [p] for p in pictures]
            found["samples"] = np.array([len(samples) for samples in split])
            found["inception"] = self._inception([s for samples in split for s in samples])
        if self._clip:
            found["clip"] = self._clip(pictures)
        return found


def originals(plan: Plan, artefact: Artefact, options: Options = Options()) -> None:
    """Write the features of the original images, for all models."""
    images = Images(artefact.inputs["data"], artefact.spec["crop"])
    extract = Extract(artefact.spec, pick_device(plan.study.execution.device, options.threads))
    ranges = parts([images.size(i) for i in range(len(images.ids))])
    features_path, description = artefact.files
    kept = Parts(artefact.state, ranges)

    def load(which: range) -> tuple[range, list[np.ndarray]]:
        return which, [images.rgb(i) for i in which]

    def made(todo: Sequence[range]) -> Iterable[tuple[range, Arrays]]:
        return ((which, extract(pictures)) for which, pictures in ahead(load, todo))

    found = _gathered(artefact, kept, made)
    atomic.write(features_path, lambda path: save_file(found, path))
    content = describe(
        artefact,
        sha256=intact.sha256(features_path),
        images=len(images.ids),
        stand_in=extract.stand_in,
    )
    atomic.write_json(description, content)
    kept.remove()


def run(plan: Plan, artefact: Artefact, options: Options = Options()) -> None:
    """Write FID and CMMD of the first caption's coding of each image, with their intervals."""
    device = pick_device(plan.study.execution.device, options.threads)
    code, reference = artefact.inputs["codes"], artefact.inputs["originals"]
    positions = {
        image_id: i
        for i, image_id in enumerate(Images(artefact.inputs["data"], reference.spec["crop"]).ids)
    }
    decoder = StreamDecoder(code, device)
    extract = Extract(reference.spec, device)
    rows = [row for row in decoder.rows if row["index"] == 0]

    def made(todo: Sequence[range]) -> Iterable[tuple[range, Arrays]]:
        for which in todo:
            yield (
                which,
                extract([to_pixels(one.x_hat) for one in decoder([rows[i] for i in which])]),
            )

    made_from = hashlib.sha256(code.path.read_bytes() + reference.path.read_bytes()).hexdigest()[:8]
    ranges = parts([(row["height"], row["width"]) for row in rows])
    kept = Parts(artefact.state, ranges, made_from)
    found = _gathered(artefact, kept, made)
    of = _chosen(_read(reference), [positions[row["image_id"]] for row in rows])
    content = describe(
        artefact,
        summary=summary(of, found, artefact.spec, extract.stand_in, device),
        cmmd_model=reference.spec["cmmd"],
    )
    atomic.write_json(artefact.path, content)
    kept.remove()


def summary(
    of: Arrays, found: Arrays, spec: Mapping[str, Any], stand_in: bool, device: torch.device
) -> dict[str, Any]:
    """The numbers of a table; None where they would mean nothing.

    That is FID of fewer samples than the config's minimum, and a distance by another CLIP than
    CMMD's, which stands under a name of its own that no table reads. `*_without`: the distance
    without each group of images, in the same groups for all models, for intervals of differences.
    """
    count = len(found["samples"] if "samples" in found else found["clip"])
    groups = grouped(count)
    sizes = np.bincount(groups).tolist()
    numbers: dict[str, Any] = {"images": count, "groups": min(GROUPS, count), "group_sizes": sizes}
    if "inception" in found:
        samples = len(found["inception"])
        numbers |= {"fid": None, "fid_low": None, "fid_high": None, "fid_samples": samples}
        if samples >= spec["fid_min_samples"]:
            by_sample = np.repeat(groups, found["samples"])  # all patches of an image in its group
            value, without = fid(of["inception"], found["inception"], by_sample)
            numbers |= _named("fid", value, without, sizes)
    if "clip" in found:
        value, without = cmmd(of["clip"], found["clip"], groups, device)
        numbers |= {"cmmd": None, "cmmd_low": None, "cmmd_high": None}
        name = "stand_in_for_cmmd" if stand_in else "cmmd"
        numbers |= _named(name, value, without, sizes)
    return numbers


def _named(
    name: str, value: float, without: Sequence[float], sizes: Sequence[int]
) -> dict[str, Any]:
    low, high = interval(value, without, sizes) or (None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high, f"{name}_without": [*without]}


def _gathered(
    artefact: Artefact,
    kept: Parts,
    made: Callable[[Sequence[range]], Iterable[tuple[range, Arrays]]],
) -> Arrays:
    """Features of all parts, in the images' order; those of a killed run are not made again."""
    todo = kept.missing

    def save(work: tuple[range, Arrays]) -> None:
        which, arrays = work
        kept.save(which, Part([], {name: _bytes(array) for name, array in arrays.items()}))

    for _ in progress(ahead(save, made(todo)), len(todo), f"{artefact}: parts"):
        pass
    gathered: dict[str, list[npt.NDArray[Any]]] = {}
    for part in kept:
        for name, content in part.files.items():
            gathered.setdefault(name, []).append(np.load(io.BytesIO(content), allow_pickle=False))
    return {name: np.concatenate(arrays) for name, arrays in gathered.items()}


def _bytes(array: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _read(reference: Artefact) -> Arrays:
    path, description = reference.files
    remedy = f"delete {path} and it is made again"
    intact.check(path, description, remedy)
    with intact.reading(path, remedy):
        return dict(load_file(path))


def _chosen(of: Arrays, positions: Sequence[int]) -> Arrays:
    """The features of some images: controls may code fewer than there are."""
    found: Arrays = {}
    if "clip" in of:
        found["clip"] = of["clip"][list(positions)]
    if "inception" in of:
        ends = np.cumsum(of["samples"])
        found["samples"] = of["samples"][list(positions)]
        which = [np.arange(ends[i] - of["samples"][i], ends[i]) for i in positions]
        found["inception"] = of["inception"][np.concatenate(which)]
    return found
