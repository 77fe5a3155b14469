"""Every figure, for a printed column of 3.5 inches, each with its data as CSV beside it.

Colour and marker both tell the arms apart (Okabe and Ito's colours). Measured curves are solid,
classical codecs are thin and grey, published points are thin and dashed. The same inputs give the
same bytes.
"""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from tacolab.config import Study
from tacolab.stages.report import layout
from tacolab.stages.report.figures import captions, rate_distortion, times, training
from tacolab.stages.report.figures.style import DPI, STYLE
from tacolab.stages.report.inputs import Inputs
from tacolab.stages.report.layout import METRICS, figure_file


def draw(study: Study, inputs: Inputs, frames: dict[str, pd.DataFrame], folder: Path) -> None:
    """Writes every figure of `layout.figure_files` below `folder`."""
    (folder / "figures").mkdir()
    with mpl.rc_context(STYLE):
        for dataset in study.protocol.datasets:
            for metric in (*METRICS, *layout.distances(study, dataset)):
                drawn = rate_distortion.rate_distortion(study, inputs.points, dataset, metric)
                save(folder, layout.rate_distortion(dataset, metric), *drawn)
        for dataset in layout.controlled(study):
            drawn = captions.captions(study, frames["controls"], dataset)
            save(folder, layout.captions(dataset), *drawn)
        for name in layout.timed(study):
            save(folder, name, *times.timing(inputs.timing, name))
        for lmbda in layout.trained_lambdas(study):
            drawn = training.training(study, inputs.trainings, lmbda)
            save(folder, layout.training(lmbda), *drawn)


def save(folder: Path, name: str, figure: Figure, data: pd.DataFrame) -> None:
    """Writes figures/NAME in every kind, with its data."""
    # No date and no version inside: the same inputs give the same bytes.
    stamps = {
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "png": {"Software": None},
    }
    for kind, metadata in stamps.items():
        figure.savefig(folder / figure_file(name, kind), dpi=DPI, metadata=metadata)
    data.to_csv(folder / figure_file(name, "csv"), index=False)
