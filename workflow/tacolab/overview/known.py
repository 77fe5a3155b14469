"""What an estimate rests on: the sizes of data sets, and how fast a GPU trains.

From finished work where there is some, else from the files below data_root, else as published.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tacolab.config import Coco, Constant, Empty, Gpt4o, Human, Samples, Study
from tacolab.errors import UserError
from tacolab.files.texts import loads
from tacolab.plan import RESULTS, Artefact, Pictures
from tacolab.plan.stages import PUBLISHED_N
from tacolab.stages.data.sources import read, required

PUBLISHED_CROP = 256
# Samples per second of one card with the published network, by precision. Measured: two V100
# trained 69 together in fp32, half of what their maker promises. The others are estimates: the same
# half of a card's peak in fp32, a fifth of that of its tensor cores; a sample costs 234 GFLOP.
MEASURED = ("V100", "fp32")
CARDS = {
    "V100": {"fp32": 34.5, "fp16": 0.2 * 125e3 / 234},
    "A100": {"fp32": 0.51 * 19.5e3 / 234, "bf16": 0.2 * 312e3 / 234, "fp16": 0.2 * 312e3 / 234},
    "GTX 1080 Ti": {"fp32": 0.51 * 11.3e3 / 234},
}

# Images, captions and bytes of published sets, for a plan before anything is downloaded: by the
# sha256 of the pinned list of images (config/study.yaml), or by COCO's annotation file.
PUBLISHED_SETS = {
    "4b2fab0e1f4702bd0587386e21ddfc79ba8503aec2660c783b64c7ff8df2e709": (30_504, 152_620, 4.8e9),
    "e629a6f74a6b85c0850fb6f6dd956f0e32b076ebf18aed4394e2b2b625cee9a5": (428, 0, 1.5e9),
    "3eaa5bd52eb8c894d351cf607028f5d3d80e778fd0267eeff8c73d66539a25d5": (24, 0, 15.4e6),
    "captions_train2014.json": (82_783, 414_113, 13e9),
    "captions_val2014.json": (40_504, 202_654, 6e9),
}


@dataclass(frozen=True)
class Speed:
    """Training samples per second of one GPU; None where nothing tells."""

    rate: float | None
    origin: str


def pairs(study: Study, model: Artefact, pictures: Pictures | None) -> int | None:
    """(image, caption) pairs of an epoch: all but those of the images held out for validation."""
    table = model.inputs["captions"]
    source = study.captions[table.names["source"]]
    if table.done:
        images, captions = _numbers(table.files[1], "images", "captions")
    elif pictures and isinstance(source, Human):
        images, captions = pictures.images, pictures.captions
    elif pictures and isinstance(source, Gpt4o):
        images, captions = pictures.images, pictures.images * table.spec["per_image"]
    elif pictures and isinstance(source, Empty | Constant):
        images = captions = pictures.images
    else:
        return None
    held_out = study.recipe(model.names["arm"]).validation_images
    return int(max(0, captions * (images - held_out) // images))


def pictures_of(study: Study, data: Artefact) -> Pictures | None:
    """From the packed set, else from the files below `data_root`, else as published."""
    if data.done:
        images, captions, n_bytes = _numbers(data.path, "count", "captions", "bytes")
        return Pictures(images, captions, n_bytes, "packed")
    dataset = data.names["dataset"]
    source = study.datasets[dataset]
    if all(path.exists() for path in required(study, dataset)):
        records = [
            record
            for record in read(study, dataset).records
            if record.size is None or min(record.size) >= source.min_side
        ]
        return Pictures(
            len(records),
            sum(len(record.captions) for record in records),
            sum(record.path.stat().st_size for record in records if record.path.exists()),
            "as listed, not packed yet",
        )
    known = None
    if not isinstance(source, Samples) and source.list:
        known = PUBLISHED_SETS.get(source.list.sha256 or "")
    elif isinstance(source, Coco):
        known = PUBLISHED_SETS.get(source.annotations.path.name)
    if known is None:
        return None
    origin = f"as published, since data_root '{study.data_root}' lacks some of its files"
    return Pictures(*known, origin)


def _numbers(path: Path, *names: str) -> list[int]:
    """Entries of a JSON file that a stage wrote. Raises UserError when it is damaged."""
    try:
        content = loads(path.read_text(encoding="utf-8"))
        return [int(content[name]) for name in names]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: damaged; remove it and make it again with `snakemake`") from None


def speed(study: Study, crop: int, precision: str, given: float | None) -> Speed:
    """Given, else measured by finished models of the same codec, crop and precision, else that of
    the first of CARDS which computes in it."""
    if given is not None:
        return Speed(given, "as given")
    samples = seconds = models = 0
    for path in RESULTS.glob("models/*/*/*/*/model.json"):
        try:
            info = loads(path.read_text(encoding="utf-8"))
            spec = info["text"]["spec"]
            alike = spec["codec"] == study.codec.in_key()
            how = spec["training"]
            if not (alike and (how["crop"], how.get("precision", "fp32")) == (crop, precision)):
                continue
            of_model = info["steps"] * spec["training"]["batch"], info["seconds"] * info["gpus"]
        except (ValueError, KeyError, TypeError):
            continue  # damaged: tells nothing, and `tacolab status` says so
        samples, seconds, models = samples + of_model[0], seconds + of_model[1], models + 1
    if seconds:
        return Speed(samples / seconds, f"measured: mean of {models} finished in {RESULTS}/models")
    if (study.codec.N, crop) == (PUBLISHED_N, PUBLISHED_CROP):
        card = next(card for card, rates in CARDS.items() if precision in rates)
        rate = CARDS[card][precision]
        if (card, precision) == MEASURED:
            origin = f"assumed: half of what two {card} did together"
        else:
            origin = f"estimated for a {card} from its peak, not measured"
        others = [
            f"{other} about {rates[precision]:.0f}"
            for other, rates in CARDS.items()
            if other != card and precision in rates
        ]
        return Speed(rate, "; ".join([origin, *others]))
    return Speed(
        None,
        "unknown for this codec and crop until a model is finished; give --samples-per-second "
        "(train.log of a begun training shows it)",
    )
