"""Stage `weights`: which tokens of a caption count more, by TF-IDF and by names and nouns."""

import json
import logging

from pydantic import TypeAdapter

from tacolab.config import TextEncoder, TokenWeights
from tacolab.plan.keys import Artefact
from tacolab.readers.caption_table import CaptionTable

log = logging.getLogger(__name__)


def run(artefact: Artefact, threads: int | None = None) -> None:
    """Make an artefact of the kinds `vocabulary` or `weights`; threads: processes of the latter.

    Raises UserError where the captions hold no word to count, or where spaCy's model or the
    encoder's tokenizer is not there; nothing is written then.
    """
    from tacolab.stages.token_weights import table, vocabulary

    captions = CaptionTable(artefact.inputs["captions"].path)
    if artefact.stage == "vocabulary":
        vocabulary.save((caption for _, _, caption in captions), artefact)
        log.info("%s: words of %d captions", artefact.path, len(captions))
        return
    config = TokenWeights.model_validate(artefact.spec["weights"])
    encoder: TextEncoder = TypeAdapter(TextEncoder).validate_python(artefact.spec["encoder"])
    table.save(artefact, captions, config, encoder, threads)
    facts = json.loads(artefact.files[1].read_text(encoding="utf-8"))
    log.info(
        "%s: %d captions, %.1f tokens each", artefact.path, len(captions), facts["mean_tokens"]
    )
