"""What a report was made from, as its page says: a stale one needs no memory to be known."""

import hashlib

from tacolab.plan import fingerprint
from tacolab.plan.keys import MODELS, Artefact


def origin(report: Artefact) -> str:
    """The code of the report and the descriptions of all measurements that it shows.

    Not those of models: a training that is exported again has another one, and the same numbers.
    """
    digest = hashlib.sha256()
    for artefact in sorted(report.inputs.values(), key=str):
        if artefact.stage not in MODELS:
            path = next(path for path in artefact.files if path.suffix == ".json")
            digest.update(path.read_bytes() if path.exists() else b"")
    return f"{fingerprint.report()}-{digest.hexdigest()[:8]}"


def stale(report: Artefact) -> bool:
    """Whether a finished report shows what is there no longer, or as other code did."""
    return f'content="{origin(report)}"' not in report.path.read_text(encoding="utf-8")
