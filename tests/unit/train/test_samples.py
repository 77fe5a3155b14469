"""Order, crops and noise are pure functions; validation is held out by image."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import small_training
from tacolab import config
from tacolab.plan import Plan
from tacolab.readers.caption_table import CaptionTable
from tacolab.readers.packed import Packed
from tacolab.stages.captions.table import table
from tacolab.stages.train import samples


def flat(first: int, last: int, count: int = 25, batch: int = 4) -> list[list[list[int]]]:
    return list(samples.batches(100, count, batch, first, last))


@given(st.integers(0, 40), st.integers(1, 30), st.integers(1, 7))
def test_order_can_be_entered_at_any_step(first: int, count: int, batch: int) -> None:
    batch = min(batch, count)
    assert flat(first, 41, count, batch) == flat(0, 41, count, batch)[first:]


def test_every_epoch_visits_each_sample_once_in_another_order() -> None:
    epochs = [flat(6 * epoch, 6 * epoch + 6, 24) for epoch in range(3)]
    orders = [[index for batch in epoch for _, index in batch] for epoch in epochs]
    assert all(sorted(order) == list(range(24)) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert [{e for batch in epoch for e, _ in batch} for epoch in epochs] == [{0}, {1}, {2}]


@given(st.integers(2, 500), st.integers(1, 499))
def test_held_out_images_are_not_trained_on(count: int, validation: int) -> None:
    validation = min(validation, count - 1)
    used, held_out = samples.hold_out(count, validation)
    assert len(held_out) == validation
    assert sorted(used + held_out) == list(range(count))


def test_noise_belongs_to_the_sample_not_to_the_batch() -> None:
    """One process with batch 4 draws what two with batch 2 draw."""
    like = torch.zeros(4, 3, 5, 7)
    whole = samples.StepNoise(100, 7, [3, 1, 4, 5])
    halves = samples.StepNoise(100, 7, [3, 1]), samples.StepNoise(100, 7, [4, 5])
    for _ in range(2):  # z, then y
        drawn = whole(like)
        assert torch.equal(drawn, torch.cat([half(like[:2]) for half in halves]))
    assert drawn.abs().max() <= 0.5
    assert not torch.equal(drawn, samples.StepNoise(100, 8, [3, 1, 4, 5])(like))


@given(st.integers(1, 4), st.integers(1, 3))
def test_slices_of_the_ranks_are_the_batch(world_size: int, size: int) -> None:
    """Whatever is a function of the sample is so the same in one process and in several."""
    batch = world_size * size
    whole = list(samples.batches(100, 30, batch, 0, 40))
    parts = [samples.slices(whole, rank, world_size) for rank in range(world_size)]
    for step, slices in enumerate(zip(*parts, strict=True)):
        assert [len(part) for part in slices] == [size] * world_size
        assert [sample for part in slices for sample in part] == whole[step]


def test_crops_are_cut_from_the_photo_and_differ_by_epoch(prepared, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(prepared)
    plan = Plan(config.validate(small_training.study(), "test"))
    images = Packed(plan.find("data").folder)
    captions = CaptionTable(plan.find("captions").path)
    crops = samples.Crops(images, captions, [1], 64, seed=100)
    assert len(crops) == 5
    photo = torch.from_numpy(images.rgb(1).copy()).permute(2, 0, 1)
    first, again, later = crops[[0, 2]], crops[[0, 2]], crops[[1, 2]]
    assert torch.equal(first.image, again.image) and not torch.equal(first.image, later.image)
    assert first.caption == captions.for_image(images.ids[1])[2]
    # Wherever its first line stands in the photo
    lines = (photo.unfold(2, 64, 1) == first.image[:, :1, None]).all(dim=(0, 3))
    places = lines.nonzero().tolist()
    assert any(
        torch.equal(photo[:, top : top + 64, left : left + 64], first.image) for top, left in places
    )


def test_samples_are_those_of_every_training_before(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written down here once more: whole photo, generator, order of its numbers, caption."""
    monkeypatch.chdir(prepared)
    plan = Plan(config.validate(small_training.study(), "test"))
    images = Packed(plan.find("data").folder)
    captions = CaptionTable(plan.find("captions").path)
    crops = samples.Crops(images, captions, range(len(images)), 64, seed=100)
    pairs = [
        (i, caption) for i in range(len(images)) for caption in captions.for_image(images.ids[i])
    ]
    assert len(crops) == len(pairs) and crops.captions == [caption for _, caption in pairs]
    for index, (image, caption) in enumerate(pairs):
        pixels = images.rgb(image)
        numbers = np.random.default_rng([1, 100, 7, index])
        top = int(numbers.integers(pixels.shape[0] - 64 + 1))
        left = int(numbers.integers(pixels.shape[1] - 64 + 1))
        cut = pixels[top : top + 64, left : left + 64].transpose(2, 0, 1)
        sample = crops[[7, index]]
        assert (sample.index, sample.caption) == (index, caption)
        assert sample.image.is_contiguous() and np.array_equal(sample.image.numpy(), cut)


def test_a_batch_is_its_samples() -> None:
    rng = np.random.default_rng(0)
    some = [
        samples.Sample(
            index,
            torch.from_numpy(rng.integers(0, 256, (3, 4, 4)).astype(np.uint8)),
            f"caption {index}",
            rng.random(5).astype(np.float16),
        )
        for index in (4, 1, 3)
    ]
    batch = samples.Batch.of(some)
    assert (batch.indices, batch.captions) == ([4, 1, 3], ["caption 4", "caption 1", "caption 3"])
    assert torch.equal(batch.images, torch.stack([sample.image for sample in some]))
    assert batch.weights is not None and batch.weights.dtype == np.float16
    assert np.array_equal(batch.weights, [sample.weights for sample in some])
    assert samples.Batch.of([replace(sample, weights=None) for sample in some]).weights is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_fetches_batches_from_pinned_memory() -> None:
    batch = samples.Batch.of([samples.Sample(0, torch.zeros(3, 4, 4, dtype=torch.uint8), "")])
    assert batch.pin_memory().images.is_pinned()


def test_images_without_a_caption_are_left_out_and_counted(
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(prepared)
    plan = Plan(config.validate(small_training.study(), "test"))
    images = Packed(plan.find("data").folder)
    pq.write_table(table([images.ids[0]], [["one", "two"]]), tmp_path / "some.parquet")
    crops = samples.Crops(images, CaptionTable(tmp_path / "some.parquet"), [0, 1], 64, seed=100)
    assert [crops[[0, n]].caption for n in range(len(crops))] == ["one", "two"]
    assert "no caption for 1 of 2 training images; they are left out" in caplog.text
