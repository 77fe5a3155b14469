"""The vocabulary is scikit-learn's TF-IDF, and a word is rare above the caption's median."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer
from small_weighting import TRAINING, write_captions

from running import run_stage
from tacolab.errors import UserError
from tacolab.plan import Plan
from tacolab.stages.token_weights import vocabulary

CAPTIONS = [caption for captions in TRAINING.values() for caption in captions]
SOME = st.lists(
    st.sampled_from(["dog", "Dog", "cat", "the", "sofa", "zebra", "red", "a", "42", "été", "小屋"])
)


def rare_words(caption: str, idf: vocabulary.Idf) -> list[str]:
    return [caption[start:end] for start, end in vocabulary.rare(caption, idf)]


def test_idf_is_that_of_scikit_learn_with_its_english_stop_words() -> None:
    reference = TfidfVectorizer(stop_words="english").fit(CAPTIONS)
    idf, counts = vocabulary.fit(iter(CAPTIONS))
    assert idf == dict(zip(reference.get_feature_names_out(), reference.idf_, strict=True))
    assert counts == {"dog": 4, "runs": 1, "beach": 2, "ball": 1, "red": 2, "sofa": 2, "cat": 1}
    assert not ENGLISH_STOP_WORDS & set(idf)


@given(SOME, SOME)
def test_rare_is_above_the_median_of_scikit_learns_nonzero_values(
    training: list[str], caption: list[str]
) -> None:
    texts = [*CAPTIONS, " ".join(training)]
    reference = TfidfVectorizer(stop_words="english").fit(texts)
    row = reference.transform([" ".join(caption)])
    words = reference.get_feature_names_out()[row.indices]
    # scikit-learn's rows have length 1, so that equal values may differ in their last bit.
    rare = {
        str(word)
        for word, value in zip(words, row.data, strict=True)
        if value > np.median(row.data) * (1 + 1e-9)
    }
    found = rare_words(" ".join(caption), vocabulary.fit(texts)[0])
    assert found == [word for word in caption if word.lower() in rare]


def test_the_median_is_of_words_that_the_training_captions_have() -> None:
    idf = {"dog": 1.0, "cat": 2.0, "sofa": 3.0}
    assert rare_words("a Sofa, a cat; a dog: the zebra and SOFA", idf) == ["Sofa", "SOFA"]
    assert rare_words("cat cat dog sofa sofa", idf) == ["sofa", "sofa"]  # 4, 1, 6
    assert rare_words("cat cat", idf) == []  # nothing is above a median of one
    assert rare_words("dog sofa", idf) == ["sofa"]  # two words: the median lies between
    assert rare_words("zebra", idf) == rare_words("", idf) == []


def test_only_training_captions_are_counted(study: Callable[..., Plan]) -> None:
    plan = study()
    artefact = plan.find("vocabulary")
    run_stage(plan, artefact)
    assert artefact.names == {"dataset": "trainset", "source": "human"}
    content = json.loads(artefact.path.read_text())
    assert content["idf"] == vocabulary.load(artefact.path) == vocabulary.fit(CAPTIONS)[0]
    assert (content["captions"], content["words"], content["counts"]["dog"]) == (4, 7, 4)
    assert content["text"] == artefact.ingredients and content["provenance"]["scikit-learn"]


def test_training_captions_without_a_word_are_named(study: Callable[..., Plan]) -> None:
    plan = study()
    artefact = plan.find("vocabulary")
    write_captions(artefact.inputs["captions"], {"one.jpg": ["", "it is the"]})
    with pytest.raises(UserError, match=r"parquet: no words .*set token_weights\.tfidf to fa"):
        run_stage(plan, artefact)
    assert not artefact.path.exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"idf": 3}', '{"idf": {"dog": "x"}}'])
def test_a_damaged_vocabulary_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "0.vocabulary.json"
    with pytest.raises(UserError, match=r"0\.vocabulary\.json: no vocabulary; make it"):
        vocabulary.load(path)
    path.write_text(content)
    with pytest.raises(UserError, match=r"0\.vocabulary\.json: damaged"):
        vocabulary.load(path)
