"""Stage `token_weights`: which tokens of a caption count more, by TF-IDF and by names and nouns."""

import json
import logging

from pydantic import TypeAdapter

from tacolab.config import TextEncoder, TokenWeights
from tacolab.plan import Artefact, Options, Plan
from tacolab.readers.caption_table import CaptionTable

log = logging.getLogger(__name__)


def count(_: Plan, artefact: Artefact, options: Options = Options()) -> None:
    """Make a `vocabulary`: how rare the words of training captions are.

    Raises UserError where the captions hold no word to count; nothing is written then.
    """
    from tacolab.stages.token_weights import vocabulary

    captions = CaptionTable(artefact.inputs["captions"].path)
    vocabulary.save((caption for _, _, caption in captions), artefact)
    log.info("%s: words of %d captions", artefact.path, len(captions))


def run(_: Plan, artefact: Artefact, options: Options = Options()) -> None:
    """Make `token_weights`: a weight per token of each caption; `options.threads`: processes.

    Raises UserError where spaCy's model or the encoder's tokenizer is not there; nothing is written
    then.
    """
    from tacolab.stages.token_weights import table

    captions = CaptionTable(artefact.inputs["captions"].path)
    config = TokenWeights.model_validate(artefact.spec["weights"])
    encoder: TextEncoder = TypeAdapter(TextEncoder).validate_python(artefact.spec["encoder"])
    table.save(artefact, captions, config, encoder, options.threads)
    facts = json.loads(artefact.description.read_text(encoding="utf-8"))
    log.info(
        "%s: %d captions, %.1f tokens each", artefact.path, len(captions), facts["mean_tokens"]
    )
