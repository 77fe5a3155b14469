"""What a data set consists of: an explicit list of image files, from each kind of source."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tacolab.config import Coco, FileRef, Folder, Samples, Study, nearest
from tacolab.errors import UserError
from tacolab.files import texts
from tacolab.plan import Plan
from tacolab.readers import listed_files
from tacolab.stages.data import coco

SAMPLES = Path(__file__).with_name("samples.json")


@dataclass(frozen=True)
class Record:
    """One image as its source describes it.

    sha256: of the file's bytes; size: (width, height) in pixels; None where the source says
    nothing. captions: human ones, in the source's order.
    """

    name: str
    path: Path
    sha256: str | None = None
    size: tuple[int, int] | None = None
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """The images of a data set in their order, and the sha256 of each file that lists them.

    strays: annotations of images that the annotation file does not list.
    """

    records: list[Record]
    files: dict[str, str]
    strays: int = 0


def required(study: Study, dataset: str) -> list[Path]:
    """Absolute paths below `data_root` that must exist before the data set can be packed."""
    source = study.datasets[dataset]
    if isinstance(source, Samples):
        return []
    return [(study.data_root / path).absolute() for path in (source.images, *lists(source))]


def lists(source: Coco | Folder) -> list[Path]:
    """The small files, below data_root, that list and caption its images."""
    refs = [source.annotations, source.list] if isinstance(source, Coco) else [source.list]
    return [ref.path for ref in refs if ref]


def check_sources(plan: Plan) -> None:
    """Raises UserError, naming `data_root`, if something that is still to be made lacks its source.

    A copy of finished results needs no data.
    """
    study = plan.study
    paths = {
        (study.data_root / need.name).absolute(): None
        for artefact in plan.needed()
        for need in artefact.stage.needs(study, artefact)
        if need.kind in ("file", "folder")
    }
    lacking = [path for path in paths if not path.exists()]
    if lacking:
        raise UserError(
            f"data_root: '{study.data_root}' lacks {len(lacking)} of the {len(paths)} files "
            f"and folders that the study needs, first {lacking[0]} (where from: docs/data.md); "
            f"{listed_files.SET_DATA_ROOT}"
        )


def read(study: Study, dataset: str) -> Listing:
    """The data set's images as its source lists them; images themselves are not opened.

    Raises UserError where a source is missing, unreadable, changed or contradicts itself.
    """
    for path in required(study, dataset):
        if not path.exists():
            raise UserError(
                f"data set '{dataset}': {path} is missing; data_root is '{study.data_root}': "
                f"{listed_files.SET_DATA_ROOT}"
            )
    return listed(study, dataset)


def listed(study: Study, dataset: str) -> Listing:
    """The same where the images themselves need not be there yet."""
    source = study.datasets[dataset]
    if isinstance(source, Samples):
        listing = _samples(source, f"datasets.{dataset}.photos")
    elif isinstance(source, Coco):
        listing = _coco(source, study.data_root)
    else:
        listing = _folder(source, study.data_root)
    twice = [name for name, n in Counter(r.name for r in listing.records).items() if n > 1]
    if twice:
        raise UserError(f"data set '{dataset}': listed more than once: {first_few(twice)}")
    return listing


def first_few(names: Iterable[str], shown: int = 3) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    more = f" (and {len(names) - shown} more)" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _samples(source: Samples, key: str) -> Listing:
    known = json.loads(SAMPLES.read_text(encoding="utf-8"))
    records = []
    for photo in source.photos:
        if photo not in known:
            raise UserError(f"{key}: unknown photo '{photo}'{nearest(photo, known)}")
        about = known[photo]
        # Only the package's place is looked up: importing scikit-image would cost seconds.
        package = importlib.util.find_spec(about["package"])
        if package is None or package.origin is None:
            raise UserError(
                f"{key}: photo '{photo}' comes with the Python package {about['package']}, "
                "which is not installed; run `make` to install what tacolab needs"
            )
        path = Path(package.origin).parent / about["path"]
        records.append(
            Record(path.name, path, sha256=about["sha256"], captions=tuple(about["captions"]))
        )
    return Listing(records, {SAMPLES.name: hashlib.sha256(SAMPLES.read_bytes()).hexdigest()})


def _coco(source: Coco, root: Path) -> Listing:
    files: dict[str, str] = {}
    path = root / source.annotations.path
    images, strays = coco.read(_read(source.annotations, root, files), path)
    names = list(images)
    if source.list is not None:
        listed_in = root / source.list.path
        names = _names(_read(source.list, root, files), listed_in)
        absent = [name for name in names if name not in images]
        if absent:
            raise UserError(
                f"{listed_in}: {len(absent)} of {len(names)} images are not in {path}: "
                f"{first_few(absent)}"
            )
    folder = root / source.images
    records = [
        Record(
            name,
            _below(folder, name, path),
            size=images[name].size,
            captions=tuple(images[name].captions),
        )
        for name in names
    ]
    return Listing(records, files, strays)


def _folder(source: Folder, root: Path) -> Listing:
    files: dict[str, str] = {}
    content = _read(source.list, root, files)
    path = root / source.list.path
    try:
        text = texts.decode(content)
    except ValueError as error:
        raise UserError(f"{path}: not text ({error}); {_FORMS}") from None
    entries: list[tuple[str, str | None]] = (
        [(name, None) for name in _names(content, path)]
        if text.lstrip()[:1] in ("[", "{")
        else _sums(text, path)
    )
    folder = root / source.images
    records = [
        # The name is the last part, as captions name the image too; a list may name subfolders.
        Record(Path(entry).name, _below(folder, entry, path), sha256=sha256)
        for entry, sha256 in entries
    ]
    return Listing(records, files)


def _read(ref: FileRef, root: Path, files: dict[str, str]) -> bytes:
    """Content of a listing file; its sha256 is noted in `files`."""
    content, files[str(ref.path)] = listed_files.read(ref, root)
    return content


def _below(folder: Path, name: str, where: Path) -> Path:
    """The place of a listed image, which must be in the folder of images."""
    texts.refuse_half_characters(name, str(where))
    top = os.path.normpath(folder.absolute())
    # Not resolved: an image may be a link to another disk.
    place = os.path.normpath(os.path.join(top, name))  # noqa: PTH118 - of 80,000 names
    if not place.startswith(top + os.sep) or _CONTROL.search(name):
        raise UserError(f"{where}: {name!a} is not the name of a file in {folder}; mend the list")
    return folder / name


_CONTROL = re.compile(r"[\x00-\x1f]")
_FORMS = "give a JSON list, a JSON object or the output of sha256sum"


def _names(content: bytes, path: Path) -> list[str]:
    """File names from a JSON list, or the keys of a JSON object."""
    given = texts.given_json(content, path)
    names = list(given) if isinstance(given, list | dict) else []
    if not names or not all(isinstance(name, str) and name for name in names):
        raise UserError(f"{path}: not a JSON list of file names, or an object keyed by them")
    return names


def _sums(text: str, path: Path) -> list[tuple[str, str | None]]:
    """File names and sha256 from the output of `sha256sum`."""
    entries: list[tuple[str, str | None]] = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip():
            continue
        digest, _, name = line.partition(" ")
        name = name.removeprefix(" ").removeprefix("*")
        if len(digest) != 64 or set(digest) - set("0123456789abcdef") or not name:
            raise UserError(f"{path}: line {number} is not `sha256  name`; {_FORMS}")
        entries.append((name, digest))
    if not entries:
        raise UserError(f"{path}: lists no images")
    return entries
