"""Names of everything the report writes, as a pure function of the study.

Snakemake's rule declares these files as outputs, so this module imports nothing heavy.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from tacolab.config import Study

INDEX = "index.html"
KODAK = "kodak"  # the data set that the published anchor points were measured on
# Each as CSV, Markdown and LaTeX.
TABLES = (
    *("verdicts", "results", "bd", "points", "distances", "controls", "captions", "keywords"),
    *("reproduced", "timing", "models"),
)
TABLE_KINDS = ("csv", "md", "tex")
FIGURE_KINDS = ("svg", "pdf", "png", "csv")  # the last holds what is drawn
PER_IMAGE = "tables/per_image.parquet"
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


DISTANCES = (
    Metric(
        "fid",
        "fid",
        "FID",
        "FID",
        False,
        "Inception features of all images together, bars are 95 % intervals by the grouped "
        "jackknife; empty below {least:,} samples.",
    ),
    Metric(
        "cmmd",
        "cmmd",
        "CMMD",
        "CMMD",
        False,
        "CLIP features of all images together, bars are 95 % intervals by the grouped jackknife.",
    ),
)


def distances(study: Study, dataset: str) -> list[Metric]:
    """FID and CMMD, where the config asks for them."""
    asked = study.protocol.datasets[dataset].distribution
    wanted = {"fid": asked.fid is not None, "cmmd": asked.cmmd}
    least = study.protocol.fid_min_samples
    return [
        replace(metric, remark=metric.remark.format(least=least))
        for metric in DISTANCES
        if wanted[metric.column]
    ]


def rate_distortion(dataset: str, metric: Metric) -> str:
    """Name of a figure: its files are figures/NAME.KIND."""
    return f"{dataset}-{metric.slug}"


def captions(dataset: str) -> str:
    """The figure of what other captions change on a data set."""
    return f"{dataset}-captions"


def training(lmbda: str) -> str:
    """The figure of training curves at a lambda."""
    return f"training-{lmbda}"


def controlled(study: Study) -> list[str]:
    """Data sets on which other captions are tried."""
    return [
        name
        for name in study.protocol.datasets
        if any(len(study.controls(arm, name)) > 1 for arm in study.arms_with_runs())
    ]


def trained_lambdas(study: Study) -> list[str]:
    """Lambdas with a training, by rising lambda."""
    arms = study.trained_arms()
    return sorted({lmbda for arm, lmbda, _ in study.runs() if arm in arms}, key=Decimal)


def timed(study: Study) -> list[str]:
    """The figures of times: text length and side varied, and the earlier experiment."""
    timing = study.timing
    if timing is None:
        return []
    return ["timing-tokens", "timing-side", *(["timing-width"] if timing.width_factors else [])]


def figures(study: Study) -> list[str]:
    """The name of every figure."""
    return [
        *(
            rate_distortion(dataset, metric)
            for dataset in study.protocol.datasets
            for metric in (*METRICS, *distances(study, dataset))
        ),
        *map(captions, controlled(study)),
        *timed(study),
        *map(training, trained_lambdas(study)),
    ]


def figure_file(name: str, kind: str) -> str:
    """Path of a figure below the report's folder."""
    return f"figures/{name}.{kind}"


def figure_files(study: Study) -> list[str]:
    """Every figure in every kind."""
    return [figure_file(name, kind) for name in figures(study) for kind in FIGURE_KINDS]


def table_files(study: Study) -> list[str]:
    """Every table; the published anchor points only where they are drawn."""
    files = [f"tables/{name}.{kind}" for name in TABLES for kind in TABLE_KINDS]
    return [*files, PER_IMAGE, *([PUBLISHED] if KODAK in study.protocol.datasets else [])]


def report_files(study: Study) -> list[str]:
    """Every file with a name known beforehand (so not the gallery), the page first."""
    return [INDEX, *figure_files(study), *table_files(study)]
