"""Stage `captions`: the caption table of a data set and a source."""

import logging
from collections.abc import Mapping
from typing import Any

from tacolab.config import (
    Constant,
    Cut,
    Empty,
    File,
    FileRef,
    Gpt4o,
    HuggingFace,
    Human,
    Ofa,
    Published,
)
from tacolab.keys import Artefact, Plan

log = logging.getLogger(__name__)


def run(plan: Plan, artefact: Artefact) -> None:
    """Make `artefact`: Parquet table and JSON summary.

    Raises UserError where an image has no caption; nothing is written then.
    """
    from tacolab.captions import sources
    from tacolab.captions.table import save
    from tacolab.packed import Packed

    data = Packed(artefact.inputs["data"].folder)
    source = plan.study.captions[artefact.names["source"]]
    facts: Mapping[str, Any] = {}
    if isinstance(source, Human):
        rows = sources.human(data)
    elif isinstance(source, Published | File):
        file = FileRef.model_validate(artefact.spec["file"])
        rows = sources.published(data, file, plan.study.data_root)
    elif isinstance(source, Gpt4o):
        from tacolab.captions import chat

        rows, facts = chat.captions(plan.study, artefact, data)
    elif isinstance(source, Ofa | HuggingFace):
        from tacolab.captions import describe

        rows, facts = describe.captions(plan.study, artefact, data)
    elif isinstance(source, Empty):
        rows = sources.same(data, "")
    elif isinstance(source, Constant):
        rows = sources.same(data, source.text)
    elif isinstance(source, Cut):
        from tacolab.captions import cut

        rows, facts = cut.captions(artefact, source.tokens)
    else:
        rows, equal = sources.shuffled(data, artefact.inputs["own"].path, source.seed)
        facts = {"images_with_equal_text": equal}
    save(rows, artefact, facts)
    log.info("%s: %d captions for %d images", artefact.path, len(rows), len(data))
