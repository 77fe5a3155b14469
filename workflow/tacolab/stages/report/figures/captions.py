"""The figure of what other captions than an arm's own change."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tacolab.config import Study
from tacolab.stages.report.figures.style import (
    CONTROL_DASHES,
    GREY,
    PLOT_HEIGHT,
    WIDTH,
    arm_style,
    frame,
    legend,
    no_values,
)
from tacolab.stages.report.measure.controls import JUDGED

AXES = {"psnr": "at equal PSNR [%]", "lpips_published": "at equal LPIPS [%]"}
SPREAD = 1.25  # of lines at one lambda; neighbours are at least 1.6 apart


def captions(study: Study, controls: pd.DataFrame, dataset: str) -> tuple[Figure, pd.DataFrame]:
    """How much more rate other captions cost at equal quality; the band counts as nothing."""
    here = controls[controls["dataset"] == dataset]
    figure = Figure(figsize=(WIDTH, 2 * PLOT_HEIGHT))
    entries: dict[str, dict[str, Any]] = {}
    margin = study.protocol.margins.bd_rate
    panels = figure.subplots(2, 1, sharex=True)
    for axes, (metric, column) in zip(panels, JUDGED.items(), strict=True):
        axes.axhspan(-margin, margin, color="#eeeeee", zorder=0)
        axes.axhline(0, color=GREY, linewidth=0.6)
        axes.set_ylabel(f"rate {AXES[metric]}")
        lines = here[here[column].notna()].groupby(["source", "control"], sort=False)
        for number, ((arm, control), part) in enumerate(lines):
            style = _control_style(study, str(arm), str(control), here)
            part = part.sort_values("lmbda", key=lambda names: names.astype(float))
            # Side by side at each lambda, so that no bar hides another.
            beside = SPREAD ** ((number + 0.5) / len(lines) - 0.5)
            at, value = beside * part["lmbda"].astype(float).to_numpy(), part[column].to_numpy()
            bars = np.stack([value - part[f"{column}_low"], part[f"{column}_high"] - value])
            axes.plot(at, value, **style)
            axes.errorbar(at, value, bars, fmt="none", ecolor=style["color"], lw=0.7, capsize=1.5)
            entries.setdefault(f"{arm}: {control}", style)
        if not len(lines):
            no_values(axes)
    frame(panels[0], dataset, "above 0: the own captions save bits")
    _lambda_axis(panels[1], here["lmbda"])
    legend(figure, panels[1], entries, 1.75 * PLOT_HEIGHT)
    return figure, here


def _control_style(study: Study, arm: str, control: str, here: pd.DataFrame) -> dict[str, Any]:
    dashes = list(dict.fromkeys(here["control"])).index(control)
    dash = CONTROL_DASHES[dashes % len(CONTROL_DASHES)]
    return arm_style(study, arm) | {"linestyle": dash, "markerfacecolor": "white", "linewidth": 0.9}


def _lambda_axis(axes: Axes, lambdas: pd.Series) -> None:
    axes.set_xlabel("λ")
    names = sorted(dict.fromkeys(lambdas), key=float)
    if names:
        axes.set_xscale("log")
        axes.set_xlim(float(names[0]) / 1.15, float(names[-1]) * 1.15)  # also without values
        axes.set_xticks([float(name) for name in names], names)
        axes.minorticks_off()
