"""Rate-distortion figures: one per data set and metric."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tacolab.config import OWN, Study
from tacolab.stages.report.figures.style import (
    ANCHOR_STYLES,
    CODEC_LABELS,
    DARK,
    PLOT_HEIGHT,
    PUBLISHED_DASHES,
    PUBLISHED_MARKERS,
    WIDTH,
    arm_style,
    frame,
    legend,
    no_values,
)
from tacolab.stages.report.frames import ARM
from tacolab.stages.report.layout import Metric
from tacolab.stages.report.measure.curves import Array, Curve, curve, scaled
from tacolab.stages.report.measure.published import published


@dataclass(frozen=True)
class Drawn:
    """A curve as it is drawn; `dots`: single seeds, without a line. bars: half of each interval."""

    kind: str
    curve: Curve
    label: str
    style: dict[str, Any]
    dots: tuple[Array, Array] | None = None
    bars: Array | None = None
    legend: dict[str, Any] = field(default_factory=dict)


def rate_distortion(
    study: Study, points: pd.DataFrame, dataset: str, metric: Metric
) -> tuple[Figure, pd.DataFrame]:
    """The figure of one data set and metric; an empty frame that says so where nothing is known."""
    arms = [*_arms(study, points, dataset, metric)]
    others = [*_anchors(study, points, dataset, metric), *_published(dataset, metric)]
    figure = Figure(figsize=(WIDTH, PLOT_HEIGHT))
    axes: Axes = figure.add_subplot()
    frame(axes, dataset, metric.direction)
    axes.set_xlabel("rate [bit per pixel], whole files")
    axes.set_ylabel(metric.axis)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    shown: list[Drawn] = []
    if any(len(drawn.curve) for drawn in arms):
        # A stand-in for other people's weights may lie far from every other arm.
        real = [one for one in arms if not study.arms[one.label].stand_in and len(one.curve)]
        left, right, bottom, top = _window(real or arms, others)
        axes.set(xlim=(left, right), ylim=(bottom, top))
        near = [other for other in others if _visible(other.curve, left, right)]
        shown = [*(drawn for drawn in arms if len(drawn.curve)), *near]
        for drawn in reversed(shown):
            rate, value = drawn.curve.rate, drawn.curve.value
            axes.plot(rate, value, **drawn.style)
            if drawn.dots:
                axes.plot(*drawn.dots, **drawn.legend | {"linestyle": "none"})
            if drawn.bars is not None:
                colour = drawn.style["color"]
                axes.errorbar(rate, value, drawn.bars, fmt="none", ecolor=colour, capsize=2, lw=0.8)
    else:
        no_values(axes)
    legend(figure, axes, {_label(axes, one): one.style | one.legend for one in shown})
    return figure, _data(shown, metric)


def _label(axes: Axes, drawn: Drawn) -> str:
    """An arm that lies off the axes is not looked for."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    inside = any(left <= x <= right and bottom <= y <= top for x, y in _points([drawn]))
    return drawn.label if inside or drawn.kind != "arm" else f"{drawn.label} (off the axes)"


def _data(shown: list[Drawn], metric: Metric) -> pd.DataFrame:
    """What is drawn, as numbers."""
    rows = [
        {"kind": one.kind, "curve": one.label, "bpp": rate, metric.column: value}
        | ({"half_interval": one.bars[at]} if one.bars is not None else {})
        for one in shown
        for at, (rate, value) in enumerate(zip(one.curve.rate, one.curve.value, strict=True))
    ]
    return pd.DataFrame(rows, columns=["kind", "curve", "bpp", metric.column, "half_interval"])


def _arms(study: Study, points: pd.DataFrame, dataset: str, metric: Metric) -> Iterator[Drawn]:
    """With their own captions, mean over seeds."""
    for arm in study.arms_with_runs():
        style = arm_style(study, arm)
        one = points[(points["kind"] == ARM) & (points["source"] == arm)]
        one = one[(one["dataset"] == dataset) & (one["control"] == OWN)]
        dots = bars = None
        if one["seed"].nunique() > 1:  # the mean is the line, every seed is a point
            values = scaled(metric, one[metric.column].to_numpy(dtype=np.float64))
            dots = (one["bpp_real"].to_numpy(dtype=np.float64), values)
        drawn = curve(points, dataset, arm, metric)
        if f"{metric.column}_low" in one and len(drawn):
            half = (one[f"{metric.column}_high"] - one[f"{metric.column}_low"]) / 2
            known = half[one[metric.column].notna()]
            at = known.groupby(one["lmbda"]).mean().reindex(_by_rate(one, metric))
            bars = at.fillna(0).to_numpy(dtype=np.float64)
        line = style | {"marker": "none", "linewidth": 0.9} if dots else style
        yield Drawn("arm", drawn, arm, line, dots, bars, style)


def _by_rate(one: pd.DataFrame, metric: Metric) -> list[str]:
    """Lambdas in the order of the curve's points."""
    means = one.groupby("lmbda")[["bpp_real", metric.column]].mean().dropna()
    return [str(lmbda) for lmbda in means.sort_values("bpp_real").index]


def _anchors(study: Study, points: pd.DataFrame, dataset: str, metric: Metric) -> Iterator[Drawn]:
    for codec in study.protocol.anchors:
        style = ANCHOR_STYLES[codec] | {"linewidth": 0.8, "markersize": 3.5, "zorder": 1.5}
        yield Drawn(
            "classical codec",
            curve(points, dataset, codec, metric, None),
            CODEC_LABELS[codec],
            style,
        )


def _published(dataset: str, metric: Metric) -> Iterator[Drawn]:
    """Points from the literature, on the data set that they were measured on."""
    known = published()
    if metric.column not in known:
        return
    known = known[known["dataset"] == dataset].fillna({"caption": ""})
    order = list(dict.fromkeys(zip(known["source"], known["caption"], strict=True)))
    for number, (source, caption) in enumerate(order):
        part = known[(known["source"] == source) & (known["caption"] == caption)].sort_values("bpp")
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
        yield Drawn("published", Curve(source, rate, value), label, style)


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
        half = one.bars if one.bars is not None else np.zeros(len(one.curve))
        for end in (one.curve.value - half, one.curve.value + half):
            yield from zip(one.curve.rate.tolist(), end.tolist(), strict=True)
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
