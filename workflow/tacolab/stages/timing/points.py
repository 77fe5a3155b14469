"""What is timed: a part of the codec at one size, with every kind of attention."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tacolab.config import Timing

SWEEP, WIDTHS = "sweep", "widths"

# For who reads the table alone.
NOTES = {
    SWEEP: "Text length and image side varied separately, all else as in the codec.",
    WIDTHS: "Channels of the Injectors varied, as it was done before. It could not show a "
    "difference: more channels make both kinds dearer alike, while what Linformer shortens, the "
    "number of tokens, stayed the same.",
}


@dataclass(frozen=True)
class Point:
    """A part of the codec at a text length, a side of square images [pixels] and a batch.

    experiment: `sweep` varies text length and side; `widths` is the earlier experiment, which
    varied the channels of the Injectors (`width_factor` times N) and nothing else.
    """

    experiment: str
    part: str
    batch: int
    tokens: int
    side: int
    width_factor: int = 1


def points(timing: Timing) -> list[Point]:
    """Every point, in the order in which they are measured; the cheap ones first."""
    return [*_sweep(timing), *_widths(timing)]


def _sweep(timing: Timing) -> Iterator[Point]:
    first = timing.text_tokens[0]
    for part in timing.parts:
        training = part == "training"
        sides = timing.training_sides if training else timing.sides
        sizes = [(tokens, sides[0]) for tokens in timing.text_tokens]
        if part == "decompress":  # never sees the text
            sizes = sizes[:1]
        sizes += [(first, side) for side in sides[1:]]
        for tokens, side in sizes:
            yield Point(SWEEP, part, timing.training_batch if training else 1, tokens, side)


def _widths(timing: Timing) -> Iterator[Point]:
    for factor in timing.width_factors:
        for part in ("forward", "training"):
            yield Point(WIDTHS, part, 1, timing.text_tokens[0], timing.sides[0], factor)
