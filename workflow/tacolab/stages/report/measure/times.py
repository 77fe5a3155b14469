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
    """In words: the same, where the text's length and the image's side were varied instead; ""
    without such rows."""
    part = PARTS[metric][1]
    rows = _linear(timing, SWEEP, part)
    parts = []
    for machine, line in rows.groupby("machine", sort=False):
        largest = [_at(line, *names) for names in (("tokens", "side"), ("side", "tokens"))]
        parts.append(f"{machine}: {', '.join(dict.fromkeys(largest))}")
    return f"sizes varied instead, {part}: {'; '.join(parts)}" if parts else ""


def _at(line: pd.DataFrame, varied: str, fixed: str) -> str:
    """The largest of one size, with the smallest of the other."""
    row = line[line[fixed] == line[fixed].min()].sort_values(varied).iloc[-1]
    change, low, high = (100 * (row[f"ratio{end}"] - 1) for end in ("", "_low", "_high"))
    where = f"{row['tokens']:,} tokens and {row['side']:,} pixels"
    return f"{change:+z.1f} [{low:+z.1f}, {high:+z.1f}] % at {where}"
