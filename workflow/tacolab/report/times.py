"""What linear attention costs against the published kind, from the rows of stage `timing`."""

import pandas as pd

COLUMNS = ["metric", "at", "change", "change_low", "change_high"]
LINEAR, EARLIER = "linformer", "widths"
PARTS = {"training": "training_time", "forward": "inference_time"}


def table(timing: pd.DataFrame) -> pd.DataFrame:
    """The earlier experiment (channels varied): time per pair against softmax attention [%]."""
    if timing.empty:
        return pd.DataFrame(columns=COLUMNS)
    rows = timing[(timing["experiment"] == EARLIER) & (timing["attention"] == LINEAR)]
    rows = rows[rows["part"].isin(PARTS) & rows["ratio"].notna()]
    found = {
        "metric": rows["part"].map(PARTS),
        "at": [
            f"{m}, {c} channels" for m, c in zip(rows["machine"], rows["channels"], strict=True)
        ],
        "change": 100 * (rows["ratio"] - 1),
        "change_low": 100 * (rows["ratio_low"] - 1),
        "change_high": 100 * (rows["ratio_high"] - 1),
    }
    return pd.DataFrame(found, columns=COLUMNS)
