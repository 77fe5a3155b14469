"""Figures of times: a plot for each part of the codec, a line for each kind of attention."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from tacolab.stages.report.figures.style import (
    COLOURS,
    CONTROL_DASHES,
    DARK,
    MARKERS,
    PLOT_HEIGHT,
    WIDTH,
    frame,
    legend,
    no_values,
)

VARIED = {
    "timing-tokens": ("sweep", "tokens", "text length [tokens]"),
    "timing-side": ("sweep", "side", "side of the image [pixels]"),
    "timing-width": ("widths", "channels", "channels of the adapter"),
}
FRAME, PLOT = 0.6, 1.2  # [inches] around all plots, and of each


def timing(rows: pd.DataFrame, name: str) -> tuple[Figure, pd.DataFrame]:
    """Milliseconds against what is varied: colours are kinds of attention, dashes machines."""
    experiment, column, label = VARIED[name]
    figure = Figure(figsize=(WIDTH, PLOT_HEIGHT))
    known = pd.DataFrame() if rows.empty else rows[rows["experiment"] == experiment]
    if len(known):
        known = known[known["milliseconds"].notna()]
        fixed = "side" if column == "tokens" else "tokens"
        if experiment == "sweep":
            known = known[known[fixed] == known.groupby("part")[fixed].transform("min")]
            # What does not depend on it has one point.
            known = known[known.groupby("part")[column].transform("nunique") > 1]
    if known.empty:
        axes = figure.add_subplot()
        frame(axes, "time", "lower is better")
        axes.set_xlabel(label)
        axes.set_ylabel("time [ms]")
        no_values(axes)
        legend(figure, axes, {})
        return figure, known
    parts = list(dict.fromkeys(known["part"]))
    plots = figure.subplots(len(parts), 1, sharex=True, squeeze=False)[:, 0]
    for axes, part in zip(plots, parts, strict=True):
        _part(axes, known, part, column)
    plots[0].set_title("lower is better", loc="right", color=DARK)
    plots[-1].set_xlabel(label)
    ticks = sorted(set(known[column]))
    plots[-1].set_xticks(ticks, [str(tick) for tick in ticks])
    plots[-1].xaxis.set_minor_locator(NullLocator())
    legend(figure, plots[-1], _entries(known), FRAME + PLOT * len(parts))
    middle = (figure.subplotpars.bottom + figure.subplotpars.top) / 2
    figure.supylabel("time [ms]", fontsize=8, x=0.005, y=middle)
    return figure, known


def _part(axes: Axes, known: pd.DataFrame, part: str, column: str) -> None:
    axes.set_title(part, loc="left", fontweight="bold")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    here = known[known["part"] == part]
    for (machine, kind), line in here.groupby(["machine", "attention"], sort=False):
        line = line.sort_values(column)
        style = _style(known, str(machine), str(kind))
        axes.plot(line[column], line["milliseconds"], **style)
        axes.fill_between(
            line[column], line["low"], line["high"], color=style["color"], alpha=0.2, linewidth=0
        )
    low, high = axes.get_ylim()
    narrow = high < 10 * low
    axes.yaxis.set_major_locator(MaxNLocator(4) if narrow else LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def _style(known: pd.DataFrame, machine: str, kind: str) -> dict[str, Any]:
    """By the order in the table: the same in every plot."""
    kinds, machines = (list(dict.fromkeys(known[name])) for name in ("attention", "machine"))
    return {
        "color": COLOURS[kinds.index(kind)],
        "marker": MARKERS[kinds.index(kind)],
        "linestyle": ("-", *CONTROL_DASHES)[machines.index(machine) % (1 + len(CONTROL_DASHES))],
        "linewidth": 1.0,
        "markersize": 3.5,
    }


def _entries(known: pd.DataFrame) -> dict[str, dict[str, Any]]:
    pairs = list(dict.fromkeys(zip(known["machine"], known["attention"], strict=True)))
    several = known["machine"].nunique() > 1
    return {
        f"{kind}, {machine}" if several else kind: _style(known, machine, kind)
        for machine, kind in pairs
    }
