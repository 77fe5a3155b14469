"""What linear attention costs against the published kind, from the rows of stage `timing`."""

import pandas as pd

COLUMNS = ["metric", "at", "change", "change_low", "change_high"]
LINEAR, EARLIER, SWEEP = "linformer", "widths", "sweep"
# Metric of a claim -> the part that the earlier experiment timed, and the part of the sweep.
PARTS = {"training_time": ("training", "training"), "inference_time": ("forward", "encoder")}


def _linear(timing: pd.DataFrame, experiment: str, part: str) -> pd.DataFrame:
    """Rows of linear attention that were timed beside the published kind."""
    if timing.empty:
        return pd.DataFrame(columns=["machine", "tokens", "side", "channels", "ratio"])
    rows = timing[(timing["experiment"] == experiment) & (timing["attention"] == LINEAR)]
    return rows[(rows["part"] == part) & rows["ratio"].notna()]


def earlier(timing: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The earlier experiment (channels varied): time per pair against softmax attention [%]."""
    rows = _linear(timing, EARLIER, PARTS[metric][0])
    if rows.empty:
        return pd.DataFrame(columns=COLUMNS)
    found = {
        "metric": metric,
        "at": [
            f"{m}, {c} channels" for m, c in zip(rows["machine"], rows["channels"], strict=True)
        ],
        "change": 100 * (rows["ratio"] - 1),
        "change_low": 100 * (rows["ratio_low"] - 1),
        "change_high": 100 * (rows["ratio_high"] - 1),
    }
    return pd.DataFrame(found, columns=COLUMNS)


def swept(timing: pd.DataFrame, metric: str) -> str:
    """In words: the same, where the text's length was varied instead; "" without such rows."""
    part = PARTS[metric][1]
    rows = _linear(timing, SWEEP, part)
    rows = rows[rows["side"] == rows["side"].min()].sort_values("tokens")
    parts = []
    for machine, line in rows.groupby("machine", sort=False):
        ends = line.iloc[[0, -1]] if len(line) > 1 else line
        said = (
            f"{100 * (ratio - 1):+z.1f} % at {tokens:,} tokens"
            for ratio, tokens in zip(ends["ratio"], ends["tokens"], strict=True)
        )
        parts.append(f"{machine}: {', '.join(said)}")
    return f"text varied instead, {part}: {'; '.join(parts)}" if parts else ""
