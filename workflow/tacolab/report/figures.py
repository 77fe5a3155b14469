"""Rate-distortion figures: one per data set and metric, for a printed column of 3.5 inches.

Colour and marker both tell the arms apart (Okabe and Ito's colours). Measured curves are solid,
caption controls are rings of the arm's colour, classical codecs are thin and grey, published
points are thin and dashed. The same inputs give the same bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tacolab.config import OWN, Study
from tacolab.report.curves import Array, Curve, curve, scaled
from tacolab.report.inputs import ARM
from tacolab.report.layout import METRICS, Metric, figure_file
from tacolab.report.published import published

WIDTH, PLOT_HEIGHT = 3.5, 2.5  # [inches]
LEGEND_ROW = 0.155  # [inches]
DPI = 300
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
GREY, DARK = "#8a8a8a", "#4d4d4d"
ANCHOR_STYLES: dict[str, Any] = {
    "jpeg": {"color": GREY, "marker": "x", "linestyle": "-"},
    "webp": {"color": GREY, "marker": "+", "linestyle": "-"},
    "avif": {"color": GREY, "marker": "|", "linestyle": "-"},
}
CODEC_LABELS = {"jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}
PUBLISHED_DASHES = ((0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 3)))
PUBLISHED_MARKERS = ("1", "2", "3", "4")
CONTROL_DASHES = (":", (0, (4, 1.5)), "-.")
STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.5,
    "svg.hashsalt": "tacolab",
    "svg.fonttype": "path",
    "savefig.facecolor": "white",
}


ARM_RANK, CONTROL_RANK, OTHER_RANK = range(3)  # order of the legend


@dataclass(frozen=True)
class Drawn:
    """A curve with its place in the legend; `dots` are further points, drawn without the line."""

    curve: Curve
    label: str
    style: dict[str, Any]
    dots: tuple[Array, Array] | None = None
    rank: int = OTHER_RANK
    legend: dict[str, Any] = field(default_factory=dict)


def draw(study: Study, points: pd.DataFrame, folder: Path) -> None:
    """Writes every figure of `layout.figure_files` below `folder`."""
    (folder / "figures").mkdir()
    with mpl.rc_context(STYLE):
        for dataset in study.protocol.datasets:
            for metric in METRICS:
                figure = rate_distortion(study, points, dataset, metric)
                for kind in ("svg", "png"):
                    # No date and no version inside: the same inputs give the same bytes.
                    stamps = (
                        {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
                    )
                    figure.savefig(
                        folder / figure_file(dataset, metric, kind), dpi=DPI, metadata=stamps
                    )


def rate_distortion(study: Study, points: pd.DataFrame, dataset: str, metric: Metric) -> Figure:
    """The figure of one data set and metric; an empty frame that says so where nothing is known."""
    arms = [*_arms(study, points, dataset, metric)]
    others = [*_anchors(study, points, dataset, metric), *_published(dataset, metric)]
    figure = Figure(figsize=(WIDTH, PLOT_HEIGHT))
    axes: Axes = figure.add_subplot()
    axes.set_title(dataset, loc="left", fontweight="bold")
    axes.set_title(metric.direction, loc="right", color=DARK)
    axes.set_xlabel("rate [bit per pixel], whole files")
    axes.set_ylabel(metric.axis)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    shown: list[Drawn] = []
    if any(len(drawn.curve) for drawn in arms):
        left, right, bottom, top = _window(arms, others)
        axes.set(xlim=(left, right), ylim=(bottom, top))
        near = [other for other in others if _visible(other.curve, left, right)]
        shown = [*near, *(drawn for drawn in arms if len(drawn.curve))]
        for drawn in shown:
            axes.plot(drawn.curve.rate, drawn.curve.value, **drawn.style)
            if drawn.dots:
                axes.plot(*drawn.dots, **drawn.legend | {"linestyle": "none"})
    else:
        axes.text(0.5, 0.5, "no values", ha="center", transform=axes.transAxes, color=DARK)
    _legend(figure, axes, shown)
    return figure


def _arms(study: Study, points: pd.DataFrame, dataset: str, metric: Metric) -> Iterator[Drawn]:
    """The arms, then their controls as rings around the arms' points."""
    for number, arm in enumerate(study.arms):
        colour = COLOURS[number % len(COLOURS)]
        marker = MARKERS[number % len(MARKERS)]
        style = {"color": colour, "marker": marker, "linewidth": 1.3, "markersize": 4}
        one = points[(points["kind"] == ARM) & (points["source"] == arm)]
        one = one[(one["dataset"] == dataset) & (one["control"] == OWN)]
        dots = None
        if one["seed"].nunique() > 1:  # the mean is the line, every seed is a point
            values = scaled(metric, one[metric.column].to_numpy(dtype=np.float64))
            dots = (one["bpp_real"].to_numpy(dtype=np.float64), values)
        line = style | {"marker": "none", "linewidth": 0.9} if dots else style
        yield Drawn(curve(points, dataset, arm, metric), arm, line, dots, ARM_RANK, style)
        for at, control in enumerate(study.controls(arm, dataset)[1:]):
            ring = {
                "marker": marker,
                "markerfacecolor": "none",
                "markeredgewidth": 0.8,
                "markersize": 6.5 + 1.5 * at,
                "linestyle": CONTROL_DASHES[at % len(CONTROL_DASHES)],
                "linewidth": 0.8,
            }
            yield Drawn(
                curve(points, dataset, arm, metric, control),
                f"captions: {control}",
                ring | {"color": colour},
                rank=CONTROL_RANK,
                legend=ring | {"color": DARK, "marker": "o"},
            )


def _anchors(study: Study, points: pd.DataFrame, dataset: str, metric: Metric) -> Iterator[Drawn]:
    for codec in study.protocol.anchors:
        style = ANCHOR_STYLES[codec] | {"linewidth": 0.8, "markersize": 3.5, "zorder": 1.5}
        yield Drawn(curve(points, dataset, codec, metric, None), CODEC_LABELS[codec], style)


def _published(dataset: str, metric: Metric) -> Iterator[Drawn]:
    """Points from the literature, on the data set that they were measured on."""
    frame = published()
    if metric.column not in frame:
        return
    frame = frame[frame["dataset"] == dataset].fillna({"caption": ""})
    order = list(dict.fromkeys(zip(frame["source"], frame["caption"], strict=True)))
    for number, (source, caption) in enumerate(order):
        part = frame[(frame["source"] == source) & (frame["caption"] == caption)].sort_values("bpp")
        part = part[part[metric.column].notna()]
        rate, value = (part[name].to_numpy(dtype=np.float64) for name in ("bpp", metric.column))
        style = {
            "color": DARK,
            "linestyle": PUBLISHED_DASHES[number % len(PUBLISHED_DASHES)],
            "marker": PUBLISHED_MARKERS[number % len(PUBLISHED_MARKERS)],
            "linewidth": 0.7,
            "markersize": 5,
            "zorder": 1.6,
        }
        label = f"{source}, {caption}" if caption == "empty" else source
        yield Drawn(Curve(source, rate, value), label, style)


def _window(arms: list[Drawn], others: list[Drawn]) -> tuple[float, float, float, float]:
    """The arms' rates, and every value that any curve has there.

    Long tails of other curves do not squash the arms, but one that is better at the arms' rates
    is seen to be better.
    """
    points = list(_points(arms))
    rates, values = [rate for rate, _ in points], [value for _, value in points]
    margin = _margin(rates)
    left, right = max(0.0, min(rates) - margin), max(rates) + margin
    for other in others:
        values += _between(other.curve, left, right).tolist()
    margin = _margin(values) / 2
    return left, right, min(values) - margin, max(values) + margin


def _points(drawn: list[Drawn]) -> Iterator[tuple[float, float]]:
    for one in drawn:
        yield from zip(one.curve.rate.tolist(), one.curve.value.tolist(), strict=True)
        if one.dots:
            yield from zip(*(axis.tolist() for axis in one.dots), strict=True)


def _margin(values: list[float]) -> float:
    """A quarter of the range; of a single point a quarter of its value."""
    return 0.25 * ((max(values) - min(values)) or abs(values[0]) or 1.0)


def _between(one: Curve, left: float, right: float) -> Array:
    """Values of a curve at a hundred rates of a window, where the curve reaches."""
    if not len(one):
        return np.empty(0)
    rates = np.linspace(left, right, 100)
    rates = rates[(rates >= one.rate[0]) & (rates <= one.rate[-1])]
    return np.interp(rates, one.rate, one.value)


def _visible(one: Curve, left: float, right: float) -> bool:
    """Whether a curve shows over a fifth of the width: a scrap in a corner tells nothing."""
    return len(_between(one, left, right)) >= 20


def _legend(figure: Figure, axes: Axes, shown: list[Drawn]) -> None:
    """Below the axes, in two columns: it can cover nothing, and the figure grows with it."""
    entries: dict[str, Any] = {}
    for drawn in sorted(shown, key=lambda drawn: drawn.rank):
        if drawn.label not in entries:  # a control stands there once, not once per arm
            style = drawn.style | drawn.legend
            entries[drawn.label] = axes.plot([], [], label=drawn.label, **style)[0]
    longest = max((len(label) for label in entries), default=0)
    columns = 2 if longest <= 24 else 1
    rows = -(-len(entries) // columns)
    height = PLOT_HEIGHT + LEGEND_ROW * rows
    figure.set_size_inches(WIDTH, height)
    figure.subplots_adjust(
        left=0.7 / WIDTH,
        right=1 - 0.08 / WIDTH,
        top=1 - 0.22 / height,
        bottom=(0.45 + LEGEND_ROW * rows) / height,
    )
    if entries:
        figure.legend(
            handles=list(entries.values()),
            loc="lower center",
            ncols=columns,
            frameon=False,
            borderaxespad=0.2,
            handlelength=2.6,
            labelspacing=0.3,
            columnspacing=1.2,
        )
