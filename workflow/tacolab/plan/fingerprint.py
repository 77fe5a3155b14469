"""A fingerprint of source files, for the cheap stages whose code edits must run them again."""

import ast
import hashlib
from collections.abc import Mapping
from pathlib import Path

from tacolab.files.texts import loads
from tacolab.plan.keys import Artefact

PACKAGE = Path(__file__).parents[1]
# Whatever can change a number below the measuring module; a test holds it against the imports.
ORIGINALS = ("evaluate/images.py", "packed.py", "pictures.py")
DECODING = (
    "evaluate/decode.py",
    "evaluate/shards.py",  # what is computed together, which moves last digits
    "codec/pixels.py",  # rounds to 8 bit
)
QUALITY = (*ORIGINALS, "evaluate/metrics.py", "codec/pixels.py", "perceptual.py")
METRICS = tuple(dict.fromkeys((*QUALITY, *DECODING, "evaluate/score.py")))
ANCHORS = (*QUALITY, "evaluate/anchors.py")
DISTRIBUTION = (
    *ORIGINALS,
    *DECODING,
    "evaluate/distribution.py",
    "evaluate/features.py",
    "evaluate/frechet.py",
    "evaluate/cmmd.py",
    "pretrained.py",  # chooses the files of CLIP's weights
    "jackknife.py",
)


def fingerprint(*names: str) -> str:
    """Eight hex digits over files of the package, given relative to it.

    Comments and layout of Python files do not count.
    """
    digest = hashlib.sha256()
    for name in sorted(names):
        source = (PACKAGE / name).read_bytes()
        digest.update(ast.unparse(ast.parse(source)).encode() if name.endswith(".py") else source)
    return digest.hexdigest()[:8]


def metrics() -> str:
    """Of everything that a metric's value depends on, besides the files that are decoded."""
    return fingerprint(*METRICS)


def anchors() -> str:
    """Of everything that an anchor's rows depend on, besides the image's file."""
    return fingerprint(*ANCHORS)


def distribution() -> str:
    """Of everything that FID and CMMD depend on, besides the files that are decoded."""
    return fingerprint(*DISTRIBUTION)


def measured() -> dict[str, str]:
    """By the stage that it measures."""
    sets = dict.fromkeys(("originals", "distribution"), distribution())
    return {"metrics": metrics(), "anchors": anchors()} | sets


def outdated(artefact: Artefact, current: Mapping[str, str]) -> bool:
    """Whether finished numbers were measured by other code; `current`: that of `measured`."""
    if artefact.stage not in current:
        return False
    try:
        path = next(path for path in artefact.files if path.suffix == ".json")
        description = loads(path.read_text(encoding="utf-8"))
        return bool(description["fingerprint"] != current[artefact.stage])
    except (ValueError, KeyError, TypeError):
        return True  # damaged: to be measured again


def complete(artefact: Artefact) -> bool:
    """Whether nothing is left to do for it: all files are there, measured by the code of now."""
    return artefact.done and not outdated(artefact, measured())


def report() -> str:
    """Of every file of the report stage, and of the intervals that it computes: code, templates,
    styles, published numbers."""
    folder = PACKAGE / "report"
    # Not what editors and systems leave beside them (.DS_Store, .page.py.swp, page.py~).
    files = (path for path in folder.rglob("[!.]*[!~]") if path.is_file() and path.suffix != ".pyc")
    return fingerprint("jackknife.py", *(str(path.relative_to(PACKAGE)) for path in files))
