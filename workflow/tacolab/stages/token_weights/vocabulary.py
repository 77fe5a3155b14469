"""How rare words are in training captions: TF-IDF, fitted once and used for every other table."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tacolab.errors import UserError
from tacolab.files.atomic import write_json
from tacolab.files.texts import loads
from tacolab.plan import Artefact
from tacolab.plan.provenance import describe

WORD = re.compile(r"\b\w\w+\b")  # scikit-learn's own idea of a word

Idf = Mapping[str, float]


def words(caption: str) -> Iterator[tuple[str, int, int]]:
    """Each word in lower case, its first character in the caption and the one after its last."""
    return ((match.group().lower(), *match.span()) for match in WORD.finditer(caption))


def fit(captions: Iterable[str]) -> tuple[Idf, Mapping[str, int]]:
    """Inverse document frequency of every word, and in how many captions it stands.

    scikit-learn's, with its defaults: idf = ln((1 + captions) / (1 + captions with the word)) + 1,
    its English stop words left out. Raises ValueError where there is no word at all.
    """
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    counter = CountVectorizer(
        tokenizer=lambda caption: [word for word, _, _ in words(caption)],
        token_pattern=None,
        lowercase=False,
        stop_words="english",
    )
    counts = counter.fit_transform(captions)
    known = counter.get_feature_names_out().tolist()
    idf = TfidfTransformer().fit(counts).idf_.tolist()
    frequency = counts.getnnz(axis=0).tolist()
    return dict(zip(known, idf, strict=True)), dict(zip(known, frequency, strict=True))


def rare(caption: str, idf: Idf) -> list[tuple[int, int]]:
    """Places of the words whose TF-IDF is above the median of the caption's non-zero ones.

    Words that the training captions lack, and stop words, have none. The usual normalisation of a
    caption's TF-IDF to length 1 changes no order and is left out.
    """
    found = [place for place in words(caption) if place[0] in idf]
    scores = {word: n * idf[word] for word, n in Counter(word for word, _, _ in found).items()}
    if not scores:
        return []
    median = statistics.median(scores.values())
    return [(start, end) for word, start, end in found if scores[word] > median]


def save(captions: Iterable[str], artefact: Artefact) -> None:
    """Fit and write the artefact. Raises UserError where the captions hold no word."""
    texts = list(captions)
    try:
        idf, counts = fit(texts)
    except ValueError:
        raise UserError(
            f"{artefact.inputs['captions'].path}: no words but stop words to count; set "
            "token_weights.tfidf to false, or take token_weighting from the arm"
        ) from None
    content = describe(artefact, captions=len(texts), words=len(idf), idf=idf, counts=counts)
    write_json(artefact.path, content)


def load(path: Path) -> Idf:
    """The fitted idf by word. Raises UserError where the file is missing or damaged."""
    try:
        idf = loads(path.read_text(encoding="utf-8"))["idf"]
        return {str(word): float(value) for word, value in idf.items()}
    except FileNotFoundError:
        raise UserError(
            f"{path}: no vocabulary; make it with `snakemake {path} --profile profiles/local "
            "--configfile FILE` (FILE: the config of the study), or copy it there"
        ) from None
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); remove it and start the workflow") from None
