"""The figure of training curves."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from tacolab.config import Study
from tacolab.stages.report.figures.style import (
    PLOT_HEIGHT,
    WIDTH,
    arm_style,
    frame,
    legend,
    no_values,
)
from tacolab.stages.report.training import TrainingHistory, table, warm_start


def training(
    study: Study, trainings: list[TrainingHistory], lmbda: str
) -> tuple[Figure, pd.DataFrame]:
    """Loss against epochs at one lambda: thin in training, thick on images held out."""
    chosen = [one for one in trainings if one.lmbda == lmbda and len(one.curve)]
    figure = Figure(figsize=(WIDTH, PLOT_HEIGHT))
    axes = figure.add_subplot()
    frame(axes, f"λ = {lmbda}", "lower is better")
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    entries: dict[str, dict[str, Any]] = {}
    for one in chosen:
        style = arm_style(study, one.arm)
        plain = style | {"marker": "none"}
        for name, look in (
            ("loss", plain | {"linewidth": 0.6, "alpha": 0.6}),
            ("validation", plain | {"linewidth": 1.4}),
        ):
            known = one.curve[one.curve[name].notna() & one.curve["epoch"].notna()]
            axes.plot(known["epoch"], known[name], **look)
        last = one.curve[one.curve["epoch"].notna()].tail(1)
        state = "" if one.done else f", at step {one.step:,}"
        start = warm_start(study, one.arm, one.lmbda)
        origin = f", from {start}" if start else ""
        seed = f", seed {one.seed}" if int(one.seed) != study.seed else ""
        entries[f"{one.arm}{origin}{seed}{state}"] = plain
        value = last["validation"].fillna(last["loss"])
        axes.plot(last["epoch"].to_numpy(), value.to_numpy(), **style | {"linestyle": "none"})
    if chosen:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        no_values(axes)
    legend(figure, axes, entries)
    return figure, table(chosen)
