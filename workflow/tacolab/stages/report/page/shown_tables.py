"""A table as people read it: for the page, Markdown and LaTeX. Columns are those of `columns`.

A number and its interval (columns x, x_low, x_high) are one cell: `-1.20 [-1.90, -0.40]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from tacolab.stages.report.page.columns import column


@dataclass(frozen=True)
class ShownColumn:
    """A column of one table: its name and head, whether it is set flush right, its cells."""

    name: str
    head: str
    numeric: bool
    cells: list[str]


def shown(frame: pd.DataFrame, hide: Sequence[str] = ()) -> list[ShownColumn]:
    """The columns that hold anything; a number's interval in its cell."""
    frame = _with_ranges(frame)
    ends = {f"{name}{end}" for name in frame for end in ("_low", "_high") if f"{name}_low" in frame}
    found = []
    for name in map(str, frame):
        how = column(name)
        cells = [how.text(value) for value in frame[name]]
        if name in hide or name in ends or not any(cells):
            continue
        if f"{name}_low" in frame:
            low, high = ([how.text(v) for v in frame[f"{name}{end}"]] for end in ("_low", "_high"))
            cells = [
                f"{cell} [{a}, {b}]" if a and b else cell
                for cell, a, b in zip(cells, low, high, strict=True)
            ]
        numeric = bool(how.format) or pd.api.types.is_numeric_dtype(frame[name])
        found.append(ShownColumn(name, how.head or name, numeric, cells))
    return found


def _with_ranges(frame: pd.DataFrame) -> pd.DataFrame:
    """seeds_low and seeds_high as one column."""
    if "seeds_low" not in frame:
        return frame
    pairs = zip(frame["seeds_low"], frame["seeds_high"], strict=True)
    joined = [f"{low:+z.2f} to {high:+z.2f}" if low == low else "" for low, high in pairs]
    at = frame.columns.get_loc("seeds_low")
    frame = frame.drop(columns=["seeds_low", "seeds_high"])
    frame.insert(int(at), "seeds_range", joined)  # type: ignore[arg-type]  # the names are distinct
    return frame


def _texts(columns: list[ShownColumn]) -> pd.DataFrame:
    """Cells under their heads."""
    texts = pd.DataFrame({one.name: one.cells for one in columns})
    return texts.set_axis([one.head for one in columns], axis=1)


def markdown(frame: pd.DataFrame) -> str:
    """A GitHub table, aligned in plain text too."""
    columns = shown(frame)
    if not columns:
        return "(empty)\n"
    texts = _texts(columns).map(lambda cell: cell.replace("|", "\\|"))
    sides = ["right" if one.numeric else "left" for one in columns]
    return f"{texts.to_markdown(index=False, disable_numparse=True, colalign=sides)}\n"


def latex(frame: pd.DataFrame) -> str:
    r"""A `tabular` for \input, in the style of booktabs (\usepackage{booktabs})."""
    columns = shown(frame)
    if not columns:
        return "% empty\n"
    sides = "".join("r" if one.numeric else "l" for one in columns)
    text = _texts(columns).to_latex(index=False, escape=True, column_format=sides)
    # A row that begins with [ would be taken for an argument of the line break before it.
    return text.replace("[", "{[}").replace("λ", r"$\lambda$")
