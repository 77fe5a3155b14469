"""Names of everything the report writes, as a pure function of the study.

Snakemake's rule declares these files as outputs, so this module imports nothing heavy.
"""

from dataclasses import dataclass

from tacolab.config import Study

INDEX = "index.html"
KODAK = "kodak"  # the data set that the published anchor points were measured on
TABLES = (
    "results",
    "bd",
    "points",
    "controls",
    "published",
    "models",
)  # each as CSV and as Markdown
PER_IMAGE = "tables/per_image.csv"
PUBLISHED = "tables/published.csv"


@dataclass(frozen=True)
class Metric:
    """A quality measure that gets a figure per data set.

    column: its name in the tables; slug: its name in file names; axis: label with unit.
    """

    column: str
    slug: str
    title: str
    axis: str
    higher_is_better: bool
    remark: str

    @property
    def direction(self) -> str:
        return "higher is better" if self.higher_is_better else "lower is better"


METRICS = (
    Metric(
        "psnr",
        "psnr",
        "PSNR",
        "PSNR [dB]",
        True,
        "The mean of the images' PSNR on RGB, not the PSNR of their mean error.",
    ),
    Metric(
        "ms_ssim",
        "ms-ssim",
        "MS-SSIM",
        "MS-SSIM [dB]",
        True,
        "Drawn as -10 log10(1 - mean MS-SSIM); undefined for a side of 160 pixels or less.",
    ),
    Metric(
        "lpips_published",
        "lpips-published",
        "LPIPS, published range",
        "LPIPS (published range)",
        False,
        "AlexNet; images go in as [0, 1], as TACO's published code does; "
        "compare with other papers only by the standard range.",
    ),
    Metric(
        "lpips",
        "lpips",
        "LPIPS, standard range",
        "LPIPS (standard range)",
        False,
        "AlexNet; images go in as [-1, 1], the range that LPIPS was calibrated on.",
    ),
)


def figure_file(dataset: str, metric: Metric, kind: str) -> str:
    """Path of a figure below the report's folder; `kind` is svg or png."""
    return f"figures/{dataset}-{metric.slug}.{kind}"


def figure_files(study: Study) -> list[str]:
    """Every figure: one per evaluated data set and metric, as SVG and PNG."""
    return [
        figure_file(dataset, metric, kind)
        for dataset in study.protocol.datasets
        for metric in METRICS
        for kind in ("svg", "png")
    ]


def table_files(study: Study) -> list[str]:
    """Every table; the published anchor points only where they are drawn."""
    files = [f"tables/{name}.{kind}" for name in TABLES for kind in ("csv", "md")]
    return [*files, PER_IMAGE, *([PUBLISHED] if KODAK in study.protocol.datasets else [])]


def report_files(study: Study) -> list[str]:
    """Every file with a name known beforehand (so not the gallery), the page first."""
    return [INDEX, *figure_files(study), *table_files(study)]
