"""The verdict table in two parts: claims that the config measures, and the others, folded."""

import pandas as pd

from tacolab.stages.report.page.shown_tables import markdown


def measured_here(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The claims that the config measures."""
    return verdicts[verdicts["in_config"]].reset_index(drop=True)


def others(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The claims that the config does not measure: what is claimed, and what the config lacks."""
    left = verdicts.loc[~verdicts["in_config"], ["claim", "claimed", "note"]]
    return left.rename(columns={"note": "why"}).reset_index(drop=True)


def fold_line(count: int) -> str:
    """The line that opens the others."""
    are = "1 claim of the full study is" if count == 1 else f"{count} claims of the full study are"
    return f"{are} not measured in this config"


def verdicts_markdown(verdicts: pd.DataFrame) -> str:
    """Both parts; the second is folded where Markdown is shown as a page."""
    here, left = measured_here(verdicts), others(verdicts)
    parts = [markdown(here.drop(columns="in_config"))] if len(here) else []
    if len(left):
        summary = f"<summary>{fold_line(len(left))}</summary>"
        parts.append(f"<details>\n{summary}\n\n{markdown(left)}\n</details>\n")
    return "\n".join(parts)
