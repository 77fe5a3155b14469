"""Whether results/ takes what the pipeline writes, and whether there is room for it."""

import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from tacolab.config import Study
from tacolab.files import atomic
from tacolab.overview import costs
from tacolab.overview.doctor.finding import Finding
from tacolab.plan import RESULTS, Plan
from tacolab.stages.data import prefetch

GB = 1e9
FILES = 200_000  # that lie in results/ at once while MS-COCO is coded with five captions


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
    """Free space against what is still to be downloaded and written."""
    wanted = {RESULTS: results_needed(plan), plan.study.data_root: _to_download(plan.study)}
    found: list[str] = []
    disks: dict[int, tuple[float, float]] = {}  # needed and free bytes
    for folder, needed in wanted.items():
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        device, free = there.stat().st_dev, shutil.disk_usage(there).free
        disks[device] = (disks.get(device, (0.0, 0.0))[0] + needed, free)
        found.append(f"{folder}: {free / GB:.1f} GB free, about {needed / GB:.1f} GB to come")
    lacking = sum(max(0, needed - free) for needed, free in disks.values())
    if lacking:
        return Finding.failure(
            "; ".join(found),
            f"make {lacking / GB:.1f} GB free, or link {RESULTS}/ to a larger disk (scratch)",
        )
    return Finding.ok("; ".join(found))


def results_needed(plan: Plan) -> float:
    """Bytes of what is not finished. Raises UserError for damaged files below `data_root`."""
    return costs.estimate(plan, rate=None, gpus_at_once=1, hours_per_job=48).total.disk


def _to_download(study: Study) -> float:
    """Bytes below `data_root`, without the models of the hub: that would have to be asked."""
    needs = [need for need in prefetch.missing(study) if not need.hub]
    return sum(prefetch.size(need, study.data_root) or 0 for need in needs)


def quota(plan: Plan) -> Finding:
    """What the user's quotas leave, where `quota` or `lfs quota` tell it."""
    user = str(os.getuid())  # nothing may tell its name
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
