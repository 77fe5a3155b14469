"""Training crops per second from packed JPEGs, memory of the loading processes, decoders, packing.

    python benchmarks/loader.py coco/train2014 --rounds 5

Packs the folder's pictures into a temporary folder and measures four things, each against the way
of revision b17fc72, in turns:

- crops/s: batches of 256 x 256 crops in the order of a training, with 0, 1 and 2 loading processes.
  Before: the whole picture is decoded into fresh memory and converted, and each crop travels as a
  tensor of its own.
- memory of all processes at the start, middle and end of an epoch that is cut short; with as many
  captions as MS-COCO has, since these were what grew.
- decoders: time per photo, and pixels that differ from Pillow's.
- packing. Before: a first file, which `save_to_disk` copies.

CPU time says what a machine does that others use, too. Ratios above 1 are in favour of the code as
it is now.
"""

import argparse
import io
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import simplejpeg
import torch
import torchvision
from datasets.arrow_writer import ArrowWriter
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from tacolab import config
from tacolab.plan import Artefact, Plan
from tacolab.readers.caption_table import CaptionTable
from tacolab.readers.packed import Packed
from tacolab.stages.captions.table import table
from tacolab.stages.data import pack as packing
from tacolab.stages.data.sources import read
from tacolab.stages.data.verify import Photo, split, verify
from tacolab.stages.train import samples
from tacolab.stages.train.assemble import PREFETCH

CROP, BATCH, SEED = 256, 8, 100
CAPTIONS = 414_000
QUIET = 0.1  # cores that others may use in a round that counts; if there is none, all count


# -- as it was -------------------------------------------------------------------------------------


class Before(Dataset[samples.Sample]):
    """`samples.Crops` as it was."""

    def __init__(self, images: Packed, captions: CaptionTable) -> None:
        self.images = images
        self.pairs = [
            (image, number, caption)
            for image in range(len(images))
            for number, caption in enumerate(captions.for_image(images.ids[image]))
        ]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, place: Sequence[int]) -> samples.Sample:
        epoch, index = place
        image, _, caption = self.pairs[index]
        pixels = self.images.rgb(image)
        height, width = pixels.shape[:2]
        numbers = np.random.default_rng([1, SEED, epoch, index])
        top = int(numbers.integers(height - CROP + 1))
        left = int(numbers.integers(width - CROP + 1))
        cut = pixels[top : top + CROP, left : left + CROP]
        return samples.Sample(index, torch.from_numpy(cut.transpose(2, 0, 1).copy()), caption)


def write_twice(photos: Sequence[Photo], folder: Path, artefact: Artefact) -> None:
    """The images' part of `packing.pack` as it was."""
    stream = folder.parent / "stream.arrow"
    with ArrowWriter(features=packing.FEATURES, path=str(stream), writer_batch_size=16) as writer:
        for photo in photos:
            writer.write(packing._row(photo))
        writer.finalize()
    datasets.Dataset.from_file(str(stream)).save_to_disk(str(folder))


# -- crops -----------------------------------------------------------------------------------------


def loader(crops: Before | samples.Crops, workers: int, batches: int, now: bool) -> Iterator[Any]:
    """Batches as the trainer gets them, now or before."""
    order = samples.batches(SEED, len(crops), BATCH, 0, batches)
    ways: dict[str, Any] = {"collate_fn": list}
    if now:
        prefetch = PREFETCH if workers else None
        ways = {"collate_fn": samples.Batch.of, "prefetch_factor": prefetch}
    for batch in DataLoader(crops, batch_sampler=list(order), num_workers=workers, **ways):
        yield batch.images if now else torch.stack([sample.image for sample in batch])


def cpu_seconds() -> float:
    """Of this process and of those that have ended."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def machine_seconds() -> float:
    """CPU seconds of all processes of the machine."""
    user, nice, system, _idle, _waiting, *interrupts = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, *interrupts))) / os.sysconf("SC_CLK_TCK")


def speed(
    crops: Before | samples.Crops, workers: int, batches: int, now: bool
) -> tuple[float, float, float]:
    """Crops per second from the first batch on, crops per second of CPU time, and how many cores
    other processes used meanwhile."""
    cpu, machine, start = cpu_seconds(), machine_seconds(), time.perf_counter()
    images = loader(crops, workers, batches, now)
    next(images)
    started = time.perf_counter()
    done = sum(len(batch) for batch in images)
    ended = time.perf_counter()
    cpu = cpu_seconds() - cpu
    others = max(0.0, machine_seconds() - machine - cpu) / (ended - start)
    return done / (ended - started), batches * BATCH / cpu, others


def rates(before: Before, crops: samples.Crops, rounds: int, batches: int) -> None:
    for one, other in zip(
        loader(before, 0, batches, False), loader(crops, 0, batches, True), strict=True
    ):
        assert torch.equal(one, other)
    print(f"the same crops to the bit ({batches * BATCH} compared)")
    print("| loading processes | crops/s before | now | ratio | ratio in CPU time | rounds |")
    for workers in (0, 1, 2):
        pairs = [
            (speed(before, workers, batches, False), speed(crops, workers, batches, True))
            for _ in range(rounds)
        ]
        quiet = [pair for pair in pairs if max(one[2] for one in pair) < QUIET]
        pairs = quiet or pairs
        wall = [new[0] / old[0] for old, new in pairs]
        cpu = [new[1] / old[1] for old, new in pairs]
        print(
            f"| {workers} | {median(old[0] for old, _ in pairs):.0f} | "
            f"{median(new[0] for _, new in pairs):.0f} | {spread(wall)} | {spread(cpu)} | "
            f"{len(quiet) or 'none'} quiet of {rounds} |",
            flush=True,
        )


def spread(ratios: list[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})"


# -- memory ----------------------------------------------------------------------------------------


def memory() -> float:
    """MiB of this process and its children that no file holds; what they share counts once."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    kib = 0
    for process in (str(os.getpid()), *children):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                kib += int(line.split()[1])
    return kib / 1024


def growth(crops: Before | samples.Crops, batches: int, now: bool) -> None:
    found = []
    for step, _ in enumerate(loader(crops, 2, batches, now)):
        # A little after the start, when every loading process has made some batches
        if step in (batches // 20, batches // 2, batches - 20):
            found.append(memory())
    name = "now" if now else "before"
    print(f"| {name} | {' | '.join(f'{one:.0f}' for one in found)} |", flush=True)


# -- decoders --------------------------------------------------------------------------------------


def pillow(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def by_torchvision(content: bytes) -> np.ndarray:
    encoded = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    mode = torchvision.io.ImageReadMode.RGB
    pixels: np.ndarray = torchvision.io.decode_jpeg(encoded, mode).permute(1, 2, 0).numpy()
    return pixels


def decoders(images: Packed, rounds: int) -> None:
    files = [images.encoded(i) for i in range(len(images))]
    files = [file for file in files if simplejpeg.is_jpeg(file)]
    sizes = [simplejpeg.decode_jpeg_header(file)[:2] for file in files]
    kept = np.empty(3 * max(height * width for height, width in sizes), np.uint8)
    ways: dict[str, Callable[[bytes], np.ndarray]] = {
        "Pillow": pillow,
        "simplejpeg": lambda file: simplejpeg.decode_jpeg(file, "RGB"),
        "simplejpeg, memory kept": lambda file: simplejpeg.decode_jpeg(file, "RGB", buffer=kept),
        "simplejpeg, fast": lambda file: simplejpeg.decode_jpeg(file, "RGB", True, True),
        "torchvision": by_torchvision,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, decode in ways.items():
            started = time.process_time()
            for file in files:
                decode(file)
            seconds[name].append((time.process_time() - started) / len(files))
    print("| decoder | ms of CPU time per photo | pixels that differ from Pillow's |")
    for name, decode in ways.items():
        different = whole = 0
        for file in files:
            reference = pillow(file)
            different += int((decode(file) != reference).any(axis=2).sum())
            whole += reference.shape[0] * reference.shape[1]
        times = [1e3 * value for value in seconds[name]]
        print(
            f"| {name} | {median(times):.2f} ({min(times):.2f} - {max(times):.2f}) "
            f"| {100 * different / whole:.2f} % |",
            flush=True,
        )


# -- packing ---------------------------------------------------------------------------------------


def plan_of(folder: Path) -> Plan:
    """A study with the folder's pictures as its only data set."""
    names = sorted(path.name for path in folder.iterdir())
    Path("list.json").write_text(json.dumps(names))
    study = {
        "title": "benchmark",
        "lambdas": ["0.01"],
        "data_root": str(Path.cwd()),
        "datasets": {
            "set": {"kind": "folder", "images": str(folder), "list": "list.json", "min_side": CROP}
        },
        "captions": {"empty": {"kind": "empty"}},
        "training": {"dataset": "set", "crop": CROP},
        "arms": {"image-only": {"text": None, "captions": "empty"}},
        "protocol": {"baseline": "image-only", "datasets": {}},
    }
    return Plan(config.validate(study, "benchmark"))


def written() -> int:
    """Bytes that this process has written to files."""
    return int(Path("/proc/self/io").read_text().split("wchar: ")[1].split()[0])


def pack(folder: Path, rounds: int) -> Packed:
    plan = plan_of(folder)
    artefact = plan.find("data", dataset="set")
    listing = read(plan.study, "set")
    photos, excluded = split(verify(listing.records, "set"), CROP, "set")
    datasets.disable_progress_bars()
    write_once = packing._write
    ratios, seconds = [], []
    mib: list[float] = []
    for _ in range(rounds):
        took = []
        mib.clear()
        for write in (write_twice, write_once):
            packing._write = write
            start, started = written(), time.perf_counter()
            packing.pack(photos, excluded, listing, artefact)
            took.append(time.perf_counter() - started)
            mib.append((written() - start) / 2**20)
        seconds.append(took)
        ratios.append(took[0] / took[1])
    n_bytes = sum(photo.n_bytes for photo in photos)
    before, now = (median(column) for column in zip(*seconds, strict=True))
    print(
        f"packing {len(photos)} images ({n_bytes / 2**20:.0f} MiB): before {before:.2f} s and "
        f"{mib[0]:.0f} MiB written, now {now:.2f} s and {mib[1]:.0f} MiB, ratio {spread(ratios)}",
        flush=True,
    )
    return Packed(artefact.folder)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", type=Path, help="of JPEGs; those with a side below 256 are left out"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each pair (5)")
    parser.add_argument(
        "--batches", type=int, default=150, help=f"of {BATCH} crops, in each measurement (150)"
    )
    parser.add_argument(
        "--epoch", type=int, default=1500, help="batches of the epoch whose memory is told (1500)"
    )
    options = parser.parse_args()
    folder = options.folder.absolute()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        images = pack(folder, options.rounds)
        each = CAPTIONS // len(images)
        texts = [
            [f"a caption of about as many words as people write: number {n}" for n in range(each)]
        ] * len(images)
        pq.write_table(table(images.ids, texts), "captions.parquet")
        captions = CaptionTable(Path("captions.parquet"))
        everything = range(len(images))
        before = Before(images, captions)
        crops = samples.Crops(images, captions, everything, CROP, SEED)
        rates(before, crops, options.rounds, options.batches)
        decoders(images, options.rounds)
        print(f"| MiB, {len(crops)} captions | start | middle | end |")
        del crops  # either is measured without the other
        growth(before, options.epoch, now=False)
        del before
        growth(samples.Crops(images, captions, everything, CROP, SEED), options.epoch, now=True)
        os.chdir("/")


if __name__ == "__main__":
    main()
