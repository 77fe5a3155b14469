"""How much of each caption table a text encoder reads, as training and coding counted it.

A training that has begun tells it in `state/text.json`, a finished one in `model.json`, a coding in
the JSON file beside its codes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tacolab.config import OWN
from tacolab.files.texts import loads
from tacolab.plan import Artefact, Plan
from tacolab.plan.stages import CODE, TRAIN


@dataclass(frozen=True)
class Reading:
    """A caption table read by an encoder of the config.

    mean_tokens: of a whole caption. positions: what the encoder reads, begin, end and padding
    included. tokens_cut, captions_cut: the shares, 0 to 1, that are cut off.
    """

    dataset: str
    source: str
    encoder: str
    mean_tokens: float
    positions: int
    tokens_cut: float
    captions_cut: float


def readings(plan: Plan) -> list[Reading]:
    """Each table and encoder once; what nothing has counted yet is left out."""
    found: dict[tuple[str, str, str], Reading] = {}
    for artefact in plan.every(TRAIN, CODE):
        if "captions" not in artefact.inputs:
            continue
        if artefact.names.get("control", OWN) != OWN:
            continue
        encoder = plan.study.arms[artefact.names["arm"]].text
        if encoder is None:
            continue
        names = artefact.inputs["captions"].names
        place = names["dataset"], names["source"], encoder
        counts = next(_counts(artefact), None) if place not in found else None
        if counts:
            numbers = ("mean_tokens", "positions", "tokens_cut", "captions_cut")
            found[place] = Reading(*place, *(counts[name] for name in numbers))
    return list(found.values())


def _counts(artefact: Artefact) -> Iterator[dict[str, Any]]:
    """The counts in the files of a training or coding; damaged files tell nothing."""
    if artefact.stage is TRAIN:
        yield from _read(artefact.folder / "state/text.json")
    yield from (counts["tokens"] for counts in _read(artefact.files[-1]) if counts.get("tokens"))


def _read(path: Path) -> Iterator[dict[str, Any]]:
    try:
        content = loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if isinstance(content, dict):
        yield content
