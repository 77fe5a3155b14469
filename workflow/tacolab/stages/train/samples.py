"""Which sample comes when: order, crops and noise as pure functions of seed, epoch, step, index.

No worker, rank or library state enters, so a resumed run sees what an uninterrupted one sees, and
one process with batch 8 sees what two with batch 4 see.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tacolab.errors import UserError
from tacolab.readers.caption_table import CaptionTable
from tacolab.readers.packed import Packed
from tacolab.readers.token_weight_table import WeightTable

log = logging.getLogger(__name__)

# Separate streams of random numbers; also keeps (seed, epoch) apart from (seed, step).
_ORDER, _CROP, _NOISE, _HOLD_OUT = range(4)


@dataclass(frozen=True)
class Sample:
    """One (image, caption) pair; token weights where the arm uses them."""

    index: int
    image: Tensor  # 3 x crop x crop, uint8
    caption: str
    weights: np.ndarray | None = None  # of each position that the text encoder reads, float16


@dataclass(frozen=True)
class Batch:
    """Samples, their images in one tensor: a loading process hands over each tensor as a file."""

    indices: list[int]
    images: Tensor  # B x 3 x crop x crop, uint8
    captions: list[str]
    weights: np.ndarray | None  # B x positions

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Batch:
        rows = [sample.weights for sample in samples if sample.weights is not None]
        return cls(
            [sample.index for sample in samples],
            torch.stack([sample.image for sample in samples]),
            [sample.caption for sample in samples],
            np.stack(rows) if rows else None,
        )

    def pin_memory(self) -> Batch:
        """Where a GPU fetches it while the processor goes on; a DataLoader calls this."""
        return replace(self, images=self.images.pin_memory())


def hold_out(count: int, validation: int) -> tuple[list[int], list[int]]:
    """Image positions for training and validation; the same for every arm and seed."""
    if validation >= count:
        raise UserError(
            f"training.validation_images = {validation} leaves nothing to train on: there are "
            f"{count} images in the training set"
        )
    order = np.random.default_rng([_HOLD_OUT]).permutation(count)
    return sorted(order[validation:].tolist()), sorted(order[:validation].tolist())


def batches(seed: int, count: int, batch: int, first: int, last: int) -> Iterator[list[list[int]]]:
    """For every step in [first, last): a batch of [epoch, sample index]; the rest is dropped."""
    steps_per_epoch = count // batch
    order: list[int] = []
    for step in range(first, last):
        epoch, position = divmod(step, steps_per_epoch)
        if not order or position == 0:
            order = np.random.default_rng([_ORDER, seed, epoch]).permutation(count).tolist()
        yield [[epoch, index] for index in order[position * batch : (position + 1) * batch]]


def slices(
    batches: Iterable[list[list[int]]], rank: int, world_size: int
) -> Iterator[list[list[int]]]:
    """Of every batch the part that one of `world_size` processes takes, equally large for each."""
    for batch in batches:
        size = len(batch) // world_size
        yield batch[rank * size : (rank + 1) * size]


class Crops(Dataset[Sample]):
    """Random crops of every (image, caption) pair; indexed by [epoch, sample index].

    Images without a caption are left out: a source may be allowed to miss some.
    """

    def __init__(
        self,
        images: Packed,
        captions: CaptionTable,
        used: Sequence[int],
        crop: int,
        seed: int,
        weights: WeightTable | None = None,
    ) -> None:
        self.images, self.crop, self.seed, self.weights = images, crop, seed, weights
        captioned = [image for image in used if images.ids[image] in captions]
        if len(captioned) < len(used):
            log.warning(
                "%s: no caption for %d of %d training images; they are left out",
                *(captions.path, len(used) - len(captioned), len(used)),
            )
        texts = [captions.for_image(images.ids[image]) for image in captioned]
        # Not as Python objects: each loading process would count references to the parent's, and
        # so make a copy of all of them in the course of an epoch.
        self._texts = pa.array(chain.from_iterable(texts), pa.string())
        counts = [(image, len(some)) for image, some in zip(captioned, texts, strict=True)]
        self._images = np.fromiter((i for i, count in counts for _ in range(count)), np.int32)
        self._numbers = np.fromiter((n for _, count in counts for n in range(count)), np.int32)

    @property
    def captions(self) -> list[str]:
        captions: list[str] = self._texts.to_pylist()
        return captions

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, place: Sequence[int]) -> Sample:
        epoch, index = place
        image = int(self._images[index])
        width, height = self.images.size(image)
        numbers = np.random.default_rng([_CROP, self.seed, epoch, index])
        top = int(numbers.integers(height - self.crop + 1))
        left = int(numbers.integers(width - self.crop + 1))
        pixels = self.images.rgb(image, (left, top, left + self.crop, top + self.crop))
        weights = None
        if self.weights:
            weights = self.weights.for_image(self.images.ids[image])[self._numbers[index]]
        return Sample(index, planes(pixels), self._texts[index].as_py(), weights)


def planes(pixels: np.ndarray) -> Tensor:
    """H x W x 3 -> 3 x H x W, still uint8: the batch becomes float on its device."""
    height, width, colours = pixels.shape
    rows = np.ascontiguousarray(pixels).reshape(-1, colours)  # transposed faster than by three axes
    return torch.from_numpy(rows.T.copy().reshape(colours, height, width))


class StepNoise:
    """The quantisation noise of one step: U(-1/2, 1/2) from one generator per sample.

    Drawn on the CPU, so that it is the same on every device.
    """

    def __init__(self, seed: int, step: int, indices: Sequence[int]) -> None:
        self.generators = [
            torch.Generator().manual_seed(
                int(np.random.SeedSequence([_NOISE, seed, step, index]).generate_state(1)[0])
            )
            for index in indices
        ]

    def __call__(self, like: Tensor) -> Tensor:
        drawn = [torch.rand(like.shape[1:], generator=g) for g in self.generators]
        return torch.stack(drawn).to(like) - 0.5
