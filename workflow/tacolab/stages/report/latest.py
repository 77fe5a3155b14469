"""Reports that stand: each drawing is a folder of its own, and links lead to the newest.

    report/0123abcd   -> 0123abcd.2    a report by its key
    report/latest     -> 0123abcd.2    the one made last
    report/0123abcd.2/                 whole, and never changed

A link is moved at one stroke, so a drawing that fails or is killed leaves the old report in place.
Snakemake, which deletes outputs before their job, deletes a link only.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tacolab.errors import UserError
from tacolab.files import atomic

LATEST = "latest"


@contextmanager
def drawing(report: Path, also: Path | None = None) -> Iterator[Path]:
    """Yields an empty folder. Once it is filled, `report` (and `also`) lead to it.

    Older drawings go last. Raises UserError where `also` is no link.
    """
    if also:
        _check(also)
    stand(report)
    with atomic.workspace(report) as fresh:
        yield fresh
        for path in sorted(fresh.rglob("*")):
            atomic.sync(path)
        whole = _next(report)
        fresh.rename(whole)
        atomic.sync(report.parent)
    if also:
        lead(also, whole)
    adopt(report)
    lead(report, whole)
    for old in _drawings(report):
        if old != whole:
            shutil.rmtree(old, ignore_errors=True)


def stand(report: Path) -> None:
    """Lets `report` lead to its newest drawing again, where its link was deleted."""
    if not report.exists() and (drawings := _drawings(report)):
        lead(report, drawings[-1])


def adopt(report: Path) -> None:
    """A report that is a folder (a copy that followed links makes one) becomes a drawing."""
    if report.is_dir() and not report.is_symlink():
        report.rename(_next(report))
    stand(report)


def lead(link: Path, folder: Path) -> None:
    """Points a link at its neighbour, or where this one leads to. Raises UserError: it is none."""
    _check(link)
    atomic.link(link, folder.resolve().name)


def _check(link: Path) -> None:
    if link.exists() and not link.is_symlink():
        raise UserError(f"{link} is no link; move it away, the newest report is linked there")


def _drawings(report: Path) -> list[Path]:
    """The newest last."""
    name = re.compile(re.escape(report.name) + r"\.\d+")
    found = [path for path in report.parent.glob("*") if name.fullmatch(path.name)]
    return sorted(found, key=_number)


def _number(drawing: Path) -> int:
    return int(drawing.suffix[1:])


def _next(report: Path) -> Path:
    last = max(map(_number, _drawings(report)), default=0)
    return report.with_name(f"{report.name}.{last + 1}")
