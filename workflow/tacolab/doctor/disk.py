"""Whether results/ takes what the pipeline writes, and whether there is room for it."""

import getpass
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tacolab import atomic
from tacolab.config import Coco, Samples, Study
from tacolab.doctor.finding import Finding
from tacolab.keys import RESULTS, Artefact, Plan

GB = 1e9

# Images and bytes of what is not downloaded yet, by annotation file.
MS_COCO_2014 = {
    "captions_train2014.json": (82_783, 13 * GB),
    "captions_val2014.json": (40_504, 6 * GB),
}
PHOTO = 5e6  # bytes of a sample photo, at most
PARAMETERS, N = 38.6e6, 192  # of the published network
FILES = 200_000  # that lie in results/ at once while MS-COCO is coded with five captions
CODED_BPP, PNG_BPP = 0.5, 12.0  # of a file that the codec writes, and of a photo as PNG


def writable(folder: Path = RESULTS) -> Finding:
    """Try there what artefacts, leases and histories need of a file system."""
    elsewhere = f"make {folder}/ a link to a folder of yours on a file system that can"
    try:
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder) as temporary:
            for what, step in _trials(Path(temporary)):
                try:
                    step()
                except (OSError, AssertionError) as error:
                    return Finding.failure(
                        f"{folder}: no {what}: {error or 'no effect'}", elsewhere
                    )
    except OSError as error:
        return Finding.failure(f"{folder}: cannot be written: {error.strerror}", elsewhere)
    return Finding.ok("writing, syncing, moving into place, exclusive creation and links work")


def _trials(folder: Path) -> list[tuple[str, Callable[[], None]]]:
    file, link = folder / "file", folder / "link"

    def replacing() -> None:
        for content in (b"old", b"new"):
            atomic.write_bytes(file, content)
        assert file.read_bytes() == b"new"

    def exclusive() -> None:
        (folder / "lease").open("x").close()
        try:
            (folder / "lease").open("x").close()
        except FileExistsError:
            return
        raise AssertionError

    def linking() -> None:
        link.symlink_to(file.name)
        assert link.read_bytes() == b"new"

    return [
        ("files that are synced and moved into place", replacing),
        ("exclusive creation, which a lease needs", exclusive),
        ("symbolic links", linking),
    ]


def room(plan: Plan) -> Finding:
    """Free space against a rough estimate from above of what is still to be written."""
    wanted = {RESULTS: results_needed(plan), plan.study.data_root: _to_download(plan.study)}
    found: list[str] = []
    disks: dict[int, tuple[float, float]] = {}  # needed and free bytes
    for folder, needed in wanted.items():
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        device, free = there.stat().st_dev, shutil.disk_usage(there).free
        disks[device] = (disks.get(device, (0.0, 0.0))[0] + needed, free)
        found.append(f"{folder}: {free / GB:.1f} GB free, at most {needed / GB:.1f} GB to come")
    lacking = sum(max(0, needed - free) for needed, free in disks.values())
    if lacking:
        return Finding.failure(
            "; ".join(found),
            f"make {lacking / GB:.1f} GB free, or link {RESULTS}/ to a larger disk (scratch)",
        )
    return Finding.ok("; ".join(found))


def results_needed(plan: Plan) -> float:
    """Bytes, at most, of what is not finished: packed images, weights, checkpoints, coded files."""
    pictures = {name: _pictures(plan.study, name) for name in plan.study.datasets}
    return sum(_needed(plan.study, artefact, pictures) for artefact in plan.needed())


def _needed(study: Study, artefact: Artefact, pictures: Mapping[str, tuple[int, float]]) -> float:
    if artefact.stage == "train":
        exports = 1 + len(study.recipe(artefact.names["arm"]).export_epochs)
        # Two checkpoints are kept, each with the weights and both of Adam's moments.
        return 4 * PARAMETERS * (study.codec.N / N) ** 2 * (exports + 2 * 3)
    if artefact.stage == "data":
        return pictures[artefact.names["dataset"]][1]
    if artefact.stage == "code":
        images, n_bytes = pictures[artefact.names["dataset"]]
        crop = artefact.spec["crop"]
        pixels = images * crop**2 if crop else 8 * n_bytes / PNG_BPP
        return float(artefact.spec["captions"] * pixels * CODED_BPP / 8)
    return 0.0  # tables, figures, a few examples


def _to_download(study: Study) -> float:
    """Bytes of MS-COCO where it is not there yet; the other sets are small."""
    sets = {s.images: name for name, s in study.datasets.items() if isinstance(s, Coco)}
    absent = [name for images, name in sets.items() if not (study.data_root / images).exists()]
    return sum(_pictures(study, name)[1] for name in absent)


def _pictures(study: Study, dataset: str) -> tuple[int, float]:
    """Images of a data set and their bytes: as they lie there, else as published."""
    source = study.datasets[dataset]
    if isinstance(source, Samples):
        return len(source.photos), PHOTO * len(source.photos)
    if (folder := study.data_root / source.images).is_dir():
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        return len(sizes), sum(sizes)
    if isinstance(source, Coco):
        return MS_COCO_2014.get(source.annotations.path.name, (0, 0.0))
    return 0, 0.0


def quota(plan: Plan) -> Finding:
    """What the user's quotas leave, where `quota` or `lfs quota` tell it."""
    user = getpass.getuser()
    left = [
        *_left(_output("quota", "-w", "-p").splitlines()[2:]),
        *_left([" ".join(_output("lfs", "quota", "-q", "-u", user, str(RESULTS)).split())]),
    ]
    if not left:
        return Finding.left_out("no quota that `quota` or `lfs quota` tell of")
    n_bytes, files = min(b for b, _ in left), min(f for _, f in left)
    needed = results_needed(plan)
    found = f"{n_bytes / GB:.1f} GB and {files:.0f} files left where it is tightest"
    if n_bytes < needed or files < FILES:
        return Finding.warning(
            found,
            f"{needed / GB:.1f} GB and {FILES} files are needed in {RESULTS}/: is it on that disk?",
        )
    return Finding.ok(found)


def _output(*command: str) -> str:
    try:
        # Over a quota `quota` ends with 1.
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _left(lines: Iterable[str]) -> list[tuple[float, float]]:
    """Bytes and files that are left.

    lines: `place KiB quota limit grace files quota limit grace`.
    """
    found = []
    for line in lines:
        fields = [field.rstrip("*") for field in line.split()]
        if len(fields) == 9 and all(fields[i].isdigit() for i in (1, 2, 3, 5, 6, 7)):
            kib, soft, hard, files, soft_files, hard_files = (
                int(fields[i]) for i in (1, 2, 3, 5, 6, 7)
            )
            found.append((1024 * _rest(kib, soft, hard), _rest(files, soft_files, hard_files)))
    return found


def _rest(used: int, *limits: int) -> float:
    """A limit of 0 is none."""
    return max(0.0, min((limit for limit in limits if limit), default=math.inf) - used)
