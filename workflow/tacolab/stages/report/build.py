"""Draws the report: all of its files, in a folder of their own."""

import logging
from pathlib import Path

from tacolab.plan import Artefact, Options, Plan
from tacolab.stages.report import tables
from tacolab.stages.report.figures.drawing import draw
from tacolab.stages.report.inputs import read
from tacolab.stages.report.latest import LATEST, drawing
from tacolab.stages.report.layout import INDEX, KODAK, PUBLISHED
from tacolab.stages.report.measure.published import published
from tacolab.stages.report.page import gallery
from tacolab.stages.report.page.html import render

log = logging.getLogger(__name__)

NOW = "now"  # a report of an unfinished study has no key: what it shows changes


def run(
    plan: Plan, artefact: Artefact, options: Options = Options(), partial: bool = False
) -> Path:
    """Makes every file of `layout.report_files` and the gallery, and lets `latest` lead there.

    partial: from what is there, as report/now, which nothing links to. Returns the page.
    """
    study = plan.study
    inputs = read(study, artefact, partial)
    folder = artefact.folder.with_name(NOW) if partial else artefact.folder
    latest = None if partial else folder.with_name(LATEST)
    with drawing(folder, latest) as fresh:
        frames = tables.make(study, inputs)
        tables.write(fresh, frames, inputs)
        if KODAK in study.protocol.datasets:
            published().to_csv(fresh / PUBLISHED, index=False)
        draw(study, inputs, frames, fresh)
        photos = gallery.write(study, inputs, fresh)
        html = render(study, artefact, inputs, frames, photos, partial)
        (fresh / INDEX).write_text(html, encoding="utf-8")
    log.info("report: %s", folder / INDEX)
    return folder / INDEX
