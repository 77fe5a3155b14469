"""How figures look: colours, markers, sizes, and a legend that covers nothing."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tacolab.config import Study

WIDTH, PLOT_HEIGHT = 3.5, 2.5  # [inches]
LEGEND_ROW = 0.155  # [inches]
DPI = 300
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
GREY, DARK = "#8a8a8a", "#4d4d4d"
ANCHOR_STYLES: dict[str, Any] = {
    "jpeg": {"color": GREY, "marker": "x", "linestyle": "-"},
    "webp": {"color": GREY, "marker": "+", "linestyle": "-"},
    "avif": {"color": GREY, "marker": "*", "linestyle": "-"},
}
CODEC_LABELS = {"jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}
PUBLISHED_DASHES = ((0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 3)))
PUBLISHED_MARKERS = ("1", "2", "3", "4")
CONTROL_DASHES: tuple[Any, ...] = (":", (0, (4, 1.5)), "-.", (0, (1, 3)), (0, (6, 1, 1, 1)))
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


def arm_style(study: Study, arm: str) -> dict[str, Any]:
    """Colour and marker of an arm, the same in every figure; the eighth arm is dashed."""
    number = list(study.arms).index(arm)
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": "-" if number < len(COLOURS) else (0, (4, 1.5)),
        "linewidth": 1.3,
        "markersize": 4,
    }


def frame(axes: Axes, title: str, remark: str) -> None:
    """Title left in bold, what to look for right."""
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_title(remark, loc="right", color=DARK)


def no_values(axes: Axes) -> None:
    """An empty frame that says so."""
    axes.text(0.5, 0.5, "no values", ha="center", transform=axes.transAxes, color=DARK)


def legend(
    figure: Figure, axes: Axes, entries: dict[str, dict[str, Any]], plots: float = PLOT_HEIGHT
) -> None:
    """Below the axes, in two columns: it can cover nothing, and the figure grows with it.

    entries: label -> how its line is drawn. plots: height of all of them [inches].
    """
    longest = max((len(label) for label in entries), default=0)
    columns = 2 if longest <= 24 else 1
    rows = -(-len(entries) // columns)
    height = plots + LEGEND_ROW * rows
    figure.set_size_inches(WIDTH, height)
    figure.subplots_adjust(
        left=0.7 / WIDTH,
        right=1 - 0.08 / WIDTH,
        top=1 - 0.22 / height,
        bottom=(0.45 + LEGEND_ROW * rows) / height,
        hspace=0.35,
    )
    if entries:
        figure.legend(
            handles=[axes.plot([], [], label=name, **style)[0] for name, style in entries.items()],
            loc="lower center",
            ncols=columns,
            frameon=False,
            borderaxespad=0.2,
            handlelength=2.6,
            labelspacing=0.3,
            columnspacing=1.2,
        )
