"""How long captions are, and how much of them the encoders can read."""

from typing import Any

import numpy as np
import pandas as pd

from tacolab.config import OWN, ClipText, Study
from tacolab.report.inputs import Inputs, rows

COLUMNS = ["dataset", "arm", "captions", "words", "words_90", "encoder", "positions"]


def table(study: Study, inputs: Inputs) -> pd.DataFrame:
    """Words per caption (median, and what nine of ten do not exceed) beside the positions, begin
    and end included, that the arm's encoder reads. A word is 1.2 to 1.4 tokens of CLIP."""
    lines: dict[tuple[str, str], dict[str, Any]] = {}
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
            "encoder": text,
            "positions": encoder.max_tokens * windows,
        }
    return pd.DataFrame(lines.values(), columns=COLUMNS)
