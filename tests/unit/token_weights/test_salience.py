"""Salient words get the factor, whole and for any text; nothing else does."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_weighting import MINILM

from clip_tokenizer import save_clip_tokenizer
from tacolab.config import ClipText, TextEncoder, TokenWeights
from tacolab.errors import UserError
from tacolab.stages.token_weights.salience import Weigher, load

IDF = {"dog": 1.0, "cat": 1.2, "sofa": 3.0, "red": 2.0, "snowboarding": 5.0, "犬小屋": 4.0}
# What captions of any origin may hold, besides text of any kind.
PARTS = [
    *("A dog on a red sofa.", "Neil Armstrong", "in 1969", "don't", "cannot", "10km", "T-shirt"),
    *(
        "snowboarding",
        "the of",
        "犬小屋",
        "собака",
        "🙂🏽",
        "e\u0301clair",
        "\ufb01n",
        "İ",
        "हिन्दी",
    ),
    *("\0\x07\x1b[31m", "!?...", "_", "__a__", "<|endoftext|>", " ", "\n", "\u00a0"),
]
CAPTIONS = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.lists(st.sampled_from(PARTS), max_size=12).map(" ".join),
        st.lists(st.sampled_from(PARTS), max_size=6).map("".join),
    ),
    min_size=1,
    max_size=3,
)
HARD = ["", " ", "the of and", ".!?", "\0", "\x07\n\t", "x" * 5000, "🙂" * 50, "日本の犬小屋"]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TextEncoder]:
    folder = save_clip_tokenizer(tmp_path_factory.mktemp("clip"))
    return {
        "minilm": MINILM,
        "clip windows": ClipText(kind="clip", model=folder, max_tokens=12, windows=3),
    }


@pytest.fixture(scope="module")
def weighers(encoders: dict[str, TextEncoder]) -> list[Weigher]:
    return [Weigher(TokenWeights(factor=1.75), encoder, IDF) for encoder in encoders.values()]


def by_word(weigher: Weigher, caption: str) -> dict[str, tuple[float, tuple[str, ...]]]:
    """Characters of each token that is read -> its weight and the reasons."""
    found = weigher([caption])
    spans = found.tokens.spans[0].tolist()
    rows = zip(spans, found.weights[0].tolist(), found.reasons[0], strict=True)
    return {caption[a:b]: (weight, why) for (a, b), weight, why in rows if a >= 0}


def salient(weigher: Weigher, caption: str) -> set[str]:
    return {word for word, (weight, _) in by_word(weigher, caption).items() if weight != 1}


@settings(max_examples=80, deadline=None)
@given(CAPTIONS)
@example(HARD)
@example(["dog " * 2000])
def test_any_text_has_weights(weighers: list[Weigher], captions: list[str]) -> None:
    for weigher in weighers:
        found = weigher(captions)
        tokens = found.tokens
        assert found.weights.dtype == np.float16
        assert found.weights.shape == (len(captions), weigher.tokenizer.positions)
        assert set(np.unique(found.weights)) <= {0.0, 1.0, 1.75}
        assert ((found.weights == 0) == (tokens.mask == 0)).all()
        special = (tokens.mask == 1) & (tokens.spans[:, :, 0] < 0)
        assert (found.weights[special] == 1).all()
        assert ((found.weights == 1.75) == np.array([[*map(bool, r)] for r in found.reasons])).all()
        for caption, spans, row in zip(captions, tokens.spans, found.weights, strict=True):
            for word in weigher.nlp.make_doc(caption):
                inside = (spans[:, 0] < word.idx + len(word)) & (spans[:, 1] > word.idx)
                assert len(set(row[inside])) <= 1, (caption, word)


@settings(max_examples=30, deadline=None)
@given(CAPTIONS)
def test_a_caption_has_its_weights_in_any_company(
    weighers: list[Weigher], captions: list[str]
) -> None:
    weigher = weighers[0]
    together = weigher(captions).weights
    alone = np.concatenate([weigher([caption]).weights for caption in captions])
    np.testing.assert_array_equal(together, alone)


def test_why_words_are_salient(weighers: list[Weigher]) -> None:
    found = by_word(weighers[0], "Neil Armstrong and a dog on a red sofa")
    assert found["Neil"] == (1.75, ("entity PERSON",))
    assert found["Armstrong"] == (1.75, ("entity PERSON", "noun head"))
    assert found["sofa"] == (1.75, ("tf-idf", "noun head"))
    assert found["dog"] == (1.75, ("noun head",))  # its TF-IDF is the lowest of three
    assert {found[word] for word in ("and", "a", "on", "red")} == {(1.0, ())}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, {"Neil", "Armstrong", "sofa", "dog"}),
        ({"tfidf": False}, {"Neil", "Armstrong", "sofa", "dog"}),
        ({"noun_heads": False}, {"Neil", "Armstrong", "sofa"}),
        ({"noun_heads": False, "entities": False}, {"sofa"}),
        ({"noun_heads": False, "ignored_entities": ["PERSON"]}, {"sofa"}),
        ({"tfidf": False, "noun_heads": False, "entities": False}, set()),
    ],
)
def test_criteria_are_the_configs(config: dict[str, Any], words: set[str]) -> None:
    weighting = TokenWeights(**config)
    weigher = Weigher(weighting, MINILM, IDF if weighting.tfidf else None)
    assert salient(weigher, "Neil Armstrong and a dog on a red sofa") == words


def test_numbers_and_dates_are_no_entities_that_count(weighers: list[Weigher]) -> None:
    weigher = weighers[0]
    (doc,) = weigher.nlp.pipe(["On Sunday two dogs ran 20 miles for $5 in Paris"])
    assert {"DATE", "QUANTITY", "GPE"} <= {e.label_ for e in doc.ents}
    reasons = {why for _, _, whys in weigher.words(doc) for why in whys}
    assert reasons == {"entity GPE", "noun head"}


def test_of_a_caption_that_spacy_would_refuse_the_start_has_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weigher = Weigher(TokenWeights(), MINILM, IDF)
    monkeypatch.setattr(weigher.nlp, "max_length", len("Neil Armstrong and a dog"))
    words = {"Neil", "Armstrong", "dog"}
    assert salient(weigher, "Neil Armstrong and a dog on a red sofa") == words


def test_all_pieces_of_a_word_follow_it(encoders: dict[str, TextEncoder]) -> None:
    """Pieces of the byte-pair tokenizer: s n o w b o a r d ing; cut where the windows end."""
    weigher = Weigher(TokenWeights(noun_heads=False, entities=False), encoders["clip windows"], IDF)
    found = weigher(["a dog snowboarding a"])
    name = weigher.tokenizer.text(found.tokens.ids[0])
    read = [
        (token, weight)
        for token, weight, (start, _) in zip(
            name, found.weights[0].tolist(), found.tokens.spans[0], strict=True
        )
        if start >= 0
    ]
    assert read == [
        ("a</w>", 1),
        ("dog</w>", 1),
        *((piece, 1.5) for piece in ["s", "n", "o", "w", "b", "o", "a", "r", "d", "ing</w>"]),
        ("a</w>", 1),
    ]


def test_only_the_needed_components_run() -> None:
    def names(**config: Any) -> list[str]:
        return load(TokenWeights(**config)).pipe_names

    assert names() == ["tok2vec", "tagger", "parser", "attribute_ruler", "ner"]
    assert names(noun_heads=False) == ["ner"]
    assert names(entities=False) == ["tok2vec", "tagger", "parser", "attribute_ruler"]
    assert names(entities=False, noun_heads=False) == []


def test_a_misspelt_type_of_entity_is_refused() -> None:
    message = r"weights\.ignored_entities: .* no type 'CARDNAL'; did you mean 'CARDINAL'\?"
    with pytest.raises(UserError, match=message):
        load(TokenWeights(ignored_entities=("PERSON", "CARDNAL")))


def test_a_model_of_spacy_that_is_missing_or_cannot_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UserError, match=r"weights\.spacy: the model 'en_none' is not installed"):
        load(TokenWeights(spacy="en_none"))
    import spacy

    monkeypatch.setattr(spacy, "load", lambda *_, **__: spacy.blank("zh"))
    with pytest.raises(UserError, match=r"weights\.entities: .* finds none"):
        load(TokenWeights())
    with pytest.raises(UserError, match=r"weights\.noun_heads: .* finds none"):
        load(TokenWeights(entities=False))
