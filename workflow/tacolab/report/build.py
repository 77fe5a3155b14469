"""Builds the report in a temporary folder and swaps it in whole, so that nothing old lingers."""

import logging
import shutil
from pathlib import Path

from tacolab import atomic
from tacolab.config import Study
from tacolab.keys import Artefact
from tacolab.report import figures, gallery, latest, page, tables
from tacolab.report.inputs import read
from tacolab.report.layout import INDEX, KODAK, PUBLISHED
from tacolab.report.origin import origin
from tacolab.report.published import published

log = logging.getLogger(__name__)

NOW = "now"  # a report of an unfinished study has no key: what it shows changes


def run(study: Study, artefact: Artefact, partial: bool = False) -> Path:
    """Makes every file of `layout.report_files` and the gallery, then links `latest`.

    partial: from what is there, as report/now, which nothing links to. Returns the page.
    """
    made_from = origin(artefact)  # before it is read: what changes meanwhile is drawn anew
    inputs = read(study, artefact, partial)
    folder = artefact.folder.with_name(NOW) if partial else artefact.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = atomic.temporary(folder)
    old = atomic.temporary(folder.with_name(f"old.{folder.name}"))
    fresh.mkdir()
    try:
        frames = tables.make(study, inputs)
        tables.write(fresh, frames, inputs)
        if KODAK in study.protocol.datasets:
            published().to_csv(fresh / PUBLISHED, index=False)
        figures.draw(study, inputs, frames, fresh)
        photos = gallery.write(study, inputs, fresh)
        html = page.render(study, artefact, inputs, frames, photos, partial, made_from)
        (fresh / INDEX).write_text(html, encoding="utf-8")
        for path in sorted(fresh.rglob("*")):
            atomic.sync(path)
        if folder.exists():
            # A page must never stand over half a folder: it goes first and comes back last.
            (folder / INDEX).unlink(missing_ok=True)
            folder.rename(old)
        fresh.rename(folder)
        atomic.sync(folder.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    if not partial:
        latest.link(folder)
    log.info("report: %s", folder / INDEX)
    return folder / INDEX
