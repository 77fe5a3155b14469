"""What a study needs from outside, what of it is not there, and how that is fetched.

Compute nodes have no internet. `missing` looks only at the disk, so a check before the jobs can
say what they would lack.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tacolab.config import Samples, Study
from tacolab.errors import Interrupted, StageError, UserError
from tacolab.files.atomic import write_bytes
from tacolab.plan import Artefact, Plan, Required
from tacolab.stages.data import download
from tacolab.stages.data.download import Download
from tacolab.stages.data.sources import first_few, listed, lists
from tacolab.text import pretrained

COMMAND = "`tacolab data --prefetch` where there is internet"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Need:
    """Files below `data_root`, or a pretrained model, that the study is made from.

    name: path below data_root, or the model's name in the config. problem: what is wrong with
    it; "" when it is there. wanted: the files that are missing; none where their list is missing,
    too. downloads: rows of the table that bring them. hub: a model of the hub. Where nothing
    brings it, `by_hand` says what to do.
    """

    name: str
    what: str
    problem: str = ""
    wanted: tuple[Path, ...] = ()
    downloads: tuple[Download, ...] = ()
    hub: bool = False
    by_hand: str = ""

    @property
    def ready(self) -> bool:
        """Whether it lacks something that can be fetched now."""
        return bool(self.problem and (self.hub or (self.wanted and self.downloads)))

    @property
    def remedy(self) -> str:
        return self.by_hand or COMMAND

    def __str__(self) -> str:
        return f"{self.name} ({self.what}): {self.problem}; {self.remedy}"


def missing(study: Study) -> list[Need]:
    """What is needed for that which is still to be made, and is not there; asks no network."""
    return [need for need in survey(study) if need.problem]


def survey(study: Study, table: Sequence[Download] | None = None) -> list[Need]:
    """All that is needed for what is still to be made, lists before images; asks no network.

    table: where files come from; default: the package's.
    """
    table = download.table() if table is None else table
    found: dict[tuple[str, ...], tuple[Artefact, Required]] = {}
    for artefact in Plan(study).needed():
        for need in artefact.stage.needs(study, artefact):
            # Each once, but a folder for each data set that lists images in it.
            each = (need.kind, need.name, *([need.what] if need.kind == "folder" else []))
            found.setdefault(each, (artefact, need))
    wanted = found.values()
    files = {
        Path(need.name): _file(need, study.data_root, table)
        for _, need in wanted
        if need.kind == "file"
    }
    images = [
        _images(study, artefact.names["dataset"], files, table)
        for artefact, need in wanted
        if need.kind == "folder"
    ]
    models = [_model(need) for _, need in wanted if need.kind == "model"]
    return [*files.values(), *images, *models]


def size(need: Need, root: Path) -> int | None:
    """Bytes still to be transferred; None where the hub cannot be asked."""
    if not need.hub:
        return sum(_lacks(row, root) for row in need.downloads)
    try:
        return sum(n_bytes for n_bytes, _ in pretrained.hub_files(need.name).values())
    except (StageError, UserError):
        return None


def total(needs: Iterable[Need], root: Path) -> int:
    """Bytes still to be transferred for all of `needs`; an archive that serves two counts once."""
    lacking = [need for need in needs if need.problem]
    rows = {row for need in lacking for row in need.downloads}
    return sum(_lacks(row, root) for row in rows) + sum(
        size(need, root) or 0 for need in lacking if need.hub
    )


def fetch(study: Study, table: Sequence[Download] | None = None) -> None:
    """Fetch what is missing; one source that fails does not keep the others from being tried.

    Raises StageError when something could not be fetched, UserError when the disk has no room or
    something is left that must be had by hand, Interrupted at Ctrl-C and SIGTERM. Called again,
    it goes on where it was.
    """
    table = download.table() if table is None else table
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    tried: set[tuple[str, str]] = set()
    failures: list[str] = []
    try:
        needs = survey(study, table)
        _check_room([need for need in needs if need.problem], study.data_root)
        # In rounds: what images are wanted is known when their list is there.
        while ready := [n for n in needs if n.ready and (n.name, n.what) not in tried]:
            for need in ready:
                tried.add((need.name, need.what))
                try:
                    _obtain(need, study.data_root, table)
                except (StageError, UserError) as error:
                    log.error("%s", error)
                    failures.append(str(error))
            needs = survey(study, table)
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped; what was loaded is kept, and the same command goes on"
        ) from None
    if failures:
        raise StageError(_summary("could not be fetched", failures))
    left = [str(need) for need in needs if need.problem]
    if left:
        raise UserError(_summary("cannot be fetched", left))


def _summary(what: str, problems: list[str]) -> str:
    more = f" (and {len(problems) - 1} more, see above)" if len(problems) > 1 else ""
    return f"{len(problems)} of the things that the study needs {what}: {problems[0]}{more}"


def _file(required: Required, root: Path, table: Sequence[Download]) -> Need:
    ref = required.file
    assert ref is not None
    path, what = root / ref.path, required.what
    if path.is_file() and ref.sha256 in (None, _sha256(path)):
        return Need(str(ref.path), what)
    if path.is_file():
        need = Need(
            str(ref.path),
            what,
            "is not the file that the config pins",
            by_hand=f"put the right one at {path}, or remove it and start {COMMAND}",
        )
    else:
        # Another file than the config pins would be of no use.
        rows = [row for row in table if row.archive or ref.sha256 in (None, row.sha256)]
        need = _lacking(str(ref.path), what, "is missing", [ref.path], rows, root)
    if required.person:
        by_hand = f"get it from its authors (docs/data.md says how) and put it at {path}"
        return replace(need, downloads=(), by_hand=by_hand)
    return need


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _images(study: Study, dataset: str, files: dict[Path, Need], table: Sequence[Download]) -> Need:
    source, root = study.datasets[dataset], study.data_root
    assert not isinstance(source, Samples)
    name, what = str(source.images), f"images of {dataset}"
    folder = root / source.images
    if any(files[path].problem for path in lists(source)):
        empty = not folder.is_dir() or not any(folder.iterdir())
        rows = [
            row
            for row in table
            if empty and row.folder == source.images and not any(row.gives(file) for file in files)
        ]
        return Need(name, what, "its list is missing", downloads=tuple(rows))
    try:
        paths = [record.path.relative_to(root) for record in listed(study, dataset).records]
    except UserError as error:
        return Need(name, what, f"has no valid list ({error})", by_hand="put the right files there")
    # One look at a folder instead of one at each of 80,000 files.
    there = {
        entry.relative_to(root)
        for folder in {path.parent for path in paths}
        if (root / folder).is_dir()
        for entry in (root / folder).iterdir()
    }
    wanted = [path for path in paths if path not in there]
    if not wanted:
        return Need(name, what)
    problem = f"{len(wanted)} of {len(paths)} are missing"
    return _lacking(name, what, problem, wanted, table, root)


def _lacking(
    name: str,
    what: str,
    problem: str,
    wanted: Sequence[Path],
    table: Iterable[Download],
    root: Path,
) -> Need:
    folders = {path.parent for path in wanted}
    rows = [
        row for row in table if row.folder in folders and any(row.gives(path) for path in wanted)
    ]
    by_hand = "" if rows else f"no source is known: put it at {root / name}"
    return Need(name, what, problem, tuple(wanted), tuple(rows), by_hand=by_hand)


def _model(required: Required) -> Need:
    name, what = required.name, required.what
    if pretrained.on_hub(name):
        problem = "" if pretrained.cached(name) else "is not in the cache"
        return Need(name, what, problem, hub=True)
    try:
        there = Path(pretrained.locate(name)).exists()
    except UserError:
        there = False
    package = name.startswith("package:")
    by_hand = "run `make`" if package else "put it there, or name a model of the hub"
    return Need(name, what) if there else Need(name, what, "is missing", by_hand=by_hand)


def _lacks(row: Download, root: Path) -> int:
    """Bytes of a row that are not on the disk yet."""
    path = root / row.path
    if path.exists():
        return 0
    part = download.part(path)
    return max(0, row.bytes - (part.stat().st_size if part.exists() else 0))


def _check_room(needs: Iterable[Need], root: Path) -> None:
    """Raises UserError, before the first byte, when a disk has no room for all of it."""
    from huggingface_hub.constants import HF_HUB_CACHE

    used = peak = hub = 0
    seen: set[Download] = set()
    for need in needs:
        if need.hub:
            hub += size(need, root) or 0
            continue
        rows = [row for row in need.downloads if row not in seen]
        seen.update(rows)
        load = sum(_lacks(row, root) for row in rows)
        # An archive lies beside its files until they are whole; photos do not get larger.
        peak = max(peak, used + load + sum(row.bytes for row in rows if row.archive))
        used += load
    disks: dict[int, tuple[Path, int]] = {}
    for folder, n_bytes in ((root, peak), (Path(HF_HUB_CACHE), hub)):
        place = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
        disk = place.stat().st_dev
        disks[disk] = (place, n_bytes + disks.get(disk, (place, 0))[1])
    for place, n_bytes in disks.values():
        free = shutil.disk_usage(place).free
        if n_bytes > free:
            raise UserError(
                f"{place}: no room: {n_bytes / 1e9:.1f} GB are needed (archives and what is in "
                f"them), {free / 1e9:.1f} GB are free; set data_root or HF_HOME to a larger disk"
            )


def _obtain(need: Need, root: Path, table: Sequence[Download]) -> None:
    if need.hub:
        pretrained.fetch(need.name)
        return
    archives = []
    for row in need.downloads:
        if not row.url:
            write_bytes(root / row.path, sums(row.folder, table))
            continue
        path = download.fetch(row, root)
        if row.archive:
            archives.append((path, row.files))
    for path, files in archives:
        download.unpack(path, files)
    lost = [str(path) for path in need.wanted if not (root / path).exists()]
    if lost:
        raise StageError(
            f"{need.name}: {len(lost)} of its files are not where they should come from: "
            f"{first_few(lost)}; compare the list with the table in docs/data.md"
        )
    for path, _ in archives:
        path.unlink()


def sums(folder: Path, table: Iterable[Download]) -> bytes:
    """What sha256sum would print for the folder's images, from the table."""
    images = [row for row in table if row.folder == folder and row.path.suffix == ".png"]
    return "".join(f"{row.sha256}  {row.files}\n" for row in images).encode()
