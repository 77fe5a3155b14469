"""Which words of a caption are salient and why, and the weights of the tokens they fall into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tacolab.config import TextEncoder, TokenWeights, nearest
from tacolab.errors import UserError
from tacolab.stages.token_weights.vocabulary import Idf, rare
from tacolab.text.tokens import Tokens, tokenizer_of

# A word: first character, the one after its last, why it is salient (nothing: it is not).
Word = tuple[int, int, tuple[str, ...]]


@dataclass(frozen=True)
class Weighed:
    """B captions as an encoder reads them, T positions each.

    weights: B x T, float16. Salient tokens have the config's factor, other tokens 1, also begin
        and end; padding 0.
    reasons: per caption and position why the token is salient; empty where it is not.
    """

    tokens: Tokens
    weights: npt.NDArray[np.float16]
    reasons: list[list[tuple[str, ...]]]


class Weigher:
    """Captions -> weights of their tokens, for one encoder and one vocabulary.

    A word is a token of spaCy, made wider where a piece of the encoder's tokenizer goes beyond it
    (`do` and `n't` by `don`), so that all pieces of a word have one weight.
    """

    def __init__(self, config: TokenWeights, encoder: TextEncoder, idf: Idf | None) -> None:
        """idf: by word, or None to go without TF-IDF.

        Raises UserError when the tokenizer or spaCy's model is not there.
        """
        self.config = config
        self.idf = idf
        self.tokenizer = tokenizer_of(encoder)
        self.nlp = load(config)

    def __call__(self, captions: Sequence[str]) -> Weighed:
        """Any number of captions, of any text.

        Of a caption longer than spaCy reads (1,000,000 characters; its memory grows with them)
        only so much has words.
        """
        tokens = self.tokenizer(captions)
        with self.nlp.memory_zone():  # else every new word would stay in memory
            texts = (caption[: self.nlp.max_length] for caption in captions)
            docs = self.nlp.pipe(texts, batch_size=256)  # long ones need memory
            reasons = [
                reach(spans, list(self.words(doc)))
                for doc, spans in zip(docs, tokens.spans.tolist(), strict=True)
            ]
        salient = np.array([[bool(why) for why in row] for row in reasons], bool)
        factor = np.where(salient.reshape(tokens.mask.shape), self.config.factor, 1.0)
        return Weighed(tokens, (factor * tokens.mask).astype(np.float16), reasons)

    def words(self, doc: Any) -> Iterator[Word]:
        """The words of a spaCy Doc."""
        why: list[list[str]] = [[] for _ in doc]
        for start, end in rare(doc.text, self.idf) if self.idf is not None else ():
            # alignment: spaCy may hold the word for more than one token or a part of one
            for token in doc.char_span(start, end, alignment_mode="expand"):
                why[token.i].append("tf-idf")
        for entity in doc.ents if self.config.entities else ():
            if entity.label_ not in self.config.ignored_entities:
                for token in entity:
                    why[token.i].append(f"entity {entity.label_}")
        for phrase in doc.noun_chunks if self.config.noun_heads else ():
            why[phrase.root.i].append("noun head")
        for token in doc:
            yield token.idx, token.idx + len(token), tuple(dict.fromkeys(why[token.i]))


def reach(spans: Sequence[Sequence[int]], words: Sequence[Word]) -> list[tuple[str, ...]]:
    """For every position why it is salient. spans: its characters, -1, -1 where it has none.

    Words and pieces that share characters, directly or through others, are one word.
    """
    pieces = [(start, end, i) for i, (start, end) in enumerate(spans) if start >= 0]
    intervals: list[tuple[int, int, int | tuple[str, ...]]] = [*words, *pieces]
    reasons: list[tuple[str, ...]] = [()] * len(spans)
    members: list[int] = []
    why: dict[str, None] = {}  # in the order found
    reached = 0
    for start, end, what in sorted(intervals, key=lambda interval: interval[:2]):
        if start >= reached:  # a new word
            members, why = [], {}
        reached = max(reached, end)
        if isinstance(what, int):
            members.append(what)
        else:
            why.update(dict.fromkeys(what))
        for i in members:
            reasons[i] = tuple(why)
    return reasons


# What only one criterion needs of a spaCy pipeline.
_ONLY_FOR = {
    "noun_heads": ["tagger", "morphologizer", "attribute_ruler", "parser"],
    "entities": ["ner"],
}


def load(config: TokenWeights) -> Any:
    """spaCy's pipeline with the components that the criteria need.

    Raises UserError when the model is not installed or cannot do what is asked.
    """
    import spacy

    unused = ["lemmatizer", "senter", "textcat"]
    for criterion, components in _ONLY_FOR.items():
        unused += [] if getattr(config, criterion) else components
    try:
        nlp = spacy.load(config.spacy, exclude=unused)
    except OSError:
        raise UserError(
            f"token_weights.spacy: the model '{config.spacy}' is not installed; run "
            f"`make install`, or `python -m spacy download {config.spacy}`"
        ) from None
    if config.entities and "ner" not in nlp.pipe_names:
        raise UserError(f"token_weights.entities: spaCy's model '{config.spacy}' finds none")
    if config.entities:
        _refuse_unknown(config, nlp.pipe_labels["ner"])
    if config.noun_heads and ("parser" not in nlp.pipe_names or not nlp.vocab.get_noun_chunks):
        raise UserError(f"token_weights.noun_heads: spaCy's model '{config.spacy}' finds none")
    shared: Any = nlp.get_pipe("tok2vec") if "tok2vec" in nlp.pipe_names else None
    if shared and not shared.listening_components:
        nlp.remove_pipe("tok2vec")
    return nlp


def _refuse_unknown(config: TokenWeights, labels: Sequence[str]) -> None:
    """A type of entity that is misspelt would be counted in silence."""
    usual = TokenWeights.model_fields[
        "ignored_entities"
    ].default  # fit models of other languages, too
    for label in config.ignored_entities:
        if label not in (*labels, *usual):
            raise UserError(
                f"token_weights.ignored_entities: spaCy's model '{config.spacy}' has no type "
                f"'{label}'{nearest(label, labels)}"
            )
