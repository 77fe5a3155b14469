"""Stage `data`: verify the images of a data set, then pack them with captions and manifest."""

import logging

from tacolab.plan import Artefact, Options, Plan

log = logging.getLogger(__name__)


def run(plan: Plan, artefact: Artefact, options: Options = Options()) -> None:
    """Make `artefact`: the packed images and, last, `manifest.json`.

    Every image is decoded before anything is written. Raises UserError for sources that are
    missing, damaged or changed; nothing is written then.
    """
    from tacolab.stages.data.pack import pack
    from tacolab.stages.data.sources import read
    from tacolab.stages.data.verify import split, verify

    dataset = artefact.names["dataset"]
    listing = read(plan.study, dataset)
    if listing.strays:
        log.info(
            "data set '%s': %d annotations are of images that the file does not list; left out",
            dataset, listing.strays,
        )  # fmt: skip
    log.info("data set '%s': verifying %d images", dataset, len(listing.records))
    photos, excluded = split(
        verify(listing.records, dataset), plan.study.datasets[dataset].min_side, dataset
    )
    converted = sum(bool(photo.conversion) for photo in photos)
    log.info("%d of %d are turned or converted to sRGB where they are read", converted, len(photos))
    pack(photos, excluded, listing, artefact)
    log.info("data set '%s': packed %d images in %s", dataset, len(photos), artefact.folder)
