"""Token weights of a caption, as the gallery marks them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tacolab.plan import Artefact
from tacolab.plan.stages import METRICS, TOKEN_WEIGHTS
from tacolab.stages.report.page import weighted_words
from tacolab.stages.report.page.weighted_words import Word

CAPTION = "a red 🐕 in Paris, today"


def test_pieces_are_the_caption_again_with_their_weights() -> None:
    spans = [
        (0, 1, 1.0),
        (2, 5, 1.5),
        (6, 7, 1.5),
        (6, 7, 1.5),
        (8, 10, 1.0),
        (11, 16, 1.5),
        (16, 17, 1.0),
    ]
    found = weighted_words.split(CAPTION, spans)
    assert "".join(word.text for word in found) == CAPTION
    assert [w.text for w in found if w.weight and w.weight > 1] == ["red 🐕", "Paris"]
    assert found[-1] == Word(" today")  # beyond what the encoder read
    assert weighted_words.split(CAPTION, None) == [Word(CAPTION)]


def test_weights_are_read_from_the_stages_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = Artefact(TOKEN_WEIGHTS, {"dataset": "set", "source": "human"}, {})
    evaluation = Artefact(METRICS, {}, {}, {"token_weights": weights})
    assert weighted_words.of(evaluation) == {}  # not there in a copy of results/
    assert weighted_words.of(Artefact(METRICS, {}, {})) == {}  # an arm without them
    weights.folder.mkdir(parents=True)
    table = pa.table(
        {
            "image_id": ["x", "x"],
            "index": pa.array([0, 1], pa.int32()),
            "weights": np.array([[1, 1.5, 0], [1, 1, 1]], np.float16).tolist(),
            "spans": [[-1, -1, 2, 5, -1, -1], [0, 1, 1, 2, 2, 3]],
        }
    )
    pq.write_table(table, weights.path)
    assert weighted_words.of(evaluation) == {"x": [(2, 5, 1.5)]}
    pq.write_table(table.drop_columns("spans"), weights.path)
    assert weighted_words.of(evaluation) == {}
