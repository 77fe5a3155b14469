"""How long captions are, and how much of them the encoders can read."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tacolab.config import OWN, ClipText, Study
from tacolab.stages.report.input_files import description, rows
from tacolab.stages.report.inputs import Inputs

COLUMNS = [
    *("dataset", "arm", "captions", "words", "words_90"),
    *("mean_tokens", "positions", "captions_cut", "tokens_cut"),
]


def table(study: Study, inputs: Inputs) -> pd.DataFrame:
    """A row per arm that reads text and data set, the training set included.

    words: per caption, median; words_90: nine of ten have no more. positions: what the encoder
    reads, begin and end included. mean_tokens, captions_cut and tokens_cut [%]: as training and
    coding counted them; empty where their files are gone. Words of evaluated captions only.
    """
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for model in inputs.models:
        if model.info.get("tokens"):
            dataset = study.recipe(model.arm).dataset
            line = {"dataset": f"{dataset} (training)", "arm": model.arm}
            lines.setdefault((dataset, model.arm), line | _counted(model.info["tokens"]))
    for artefact in inputs.evaluations:
        dataset, arm = artefact.names["dataset"], artefact.names["arm"]
        text = study.arms[arm].text
        if text is None or artefact.names["control"] != OWN or (dataset, arm) in lines:
            continue
        words = [len(str(caption).split()) for caption in rows(artefact)["caption"]]
        encoder = study.encoders[text]
        windows = encoder.windows if isinstance(encoder, ClipText) else 1
        lines[dataset, arm] = {
            "dataset": dataset,
            "arm": arm,
            "captions": len(words),
            "words": float(np.median(words)),
            "words_90": float(np.quantile(words, 0.9)),
            "positions": encoder.max_tokens * windows,
        }
        codes = artefact.inputs["codes"].files[-1]
        if codes.exists():
            lines[dataset, arm] |= _counted(description(codes).get("tokens") or {})
    return pd.DataFrame(lines.values(), columns=COLUMNS)


def _counted(tokens: Mapping[str, float]) -> dict[str, float]:
    """Shares as percentages."""
    found = {
        name: tokens[name] for name in ("captions", "positions", "mean_tokens") if name in tokens
    }
    return found | {
        name: 100 * tokens[name] for name in ("captions_cut", "tokens_cut") if name in tokens
    }
