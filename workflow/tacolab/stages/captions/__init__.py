"""Stage `captions`: the caption table of a data set and a source."""

import logging
from collections.abc import Mapping
from typing import Any, assert_never

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
    Shuffled,
    Study,
)
from tacolab.plan import Artefact, Options, Plan, leftovers

log = logging.getLogger(__name__)


def run(
    plan: Plan,
    artefact: Artefact,
    options: Options = Options(),
) -> None:
    """Make `artefact`: Parquet table and JSON summary.

    Raises UserError where an image has no caption; nothing is written then.
    """
    from tacolab.readers.packed import Packed
    from tacolab.stages.captions import sources
    from tacolab.stages.captions.table import save

    data = Packed(artefact.inputs["data"].folder)
    source = plan.study.captions[artefact.names["source"]]
    facts: Mapping[str, Any] = {}
    match source:
        case Human():
            rows = sources.human(data)
        case Published() | File():
            file = FileRef.model_validate(artefact.spec["file"])
            rows = sources.given(data, file, plan.study.data_root)
        case Empty():
            rows = sources.same(data, "")
        case Constant():
            rows = sources.same(data, source.text)
        case Shuffled():
            rows, equal = sources.shuffled(data, artefact.inputs["own"].path, source.seed)
            facts = {"images_with_equal_text": equal}
        case Cut():
            from tacolab.stages.captions import cut

            rows, facts = cut.captions(artefact, source.tokens)
        case Gpt4o():
            from tacolab.stages.captions.chat import captions as chat

            api = plan.study.execution.api
            if options.max_cost is not None:
                api = api.model_copy(update={"max_cost": options.max_cost})
            rows, facts = chat.captions(plan.study, api, artefact, data, options.blame_images)
        case Ofa() | HuggingFace():
            from tacolab.stages.captions.network import describe

            rows, facts = describe.captions(plan.study, artefact, data, options.threads)
        case _:
            assert_never(source)  # mypy names a kind that is missing above
    save(rows, artefact, facts)
    leftovers.forget(artefact)
    log.info("%s: %d captions for %d images", artefact.path, len(rows), len(data))


def estimate(study: Study, artefact: Artefact) -> str:
    """What a table still costs, in words."""
    from tacolab.readers.packed import Packed
    from tacolab.stages.captions.chat import prices

    if not isinstance(study.captions[artefact.names["source"]], Gpt4o):
        return "this source costs nothing"
    return str(prices.outstanding(study, artefact, len(Packed(artefact.inputs["data"].folder))))
