"""Two result folders side by side, yours and a colleague's: from their reports' files alone."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pyarrow as pa
from matplotlib.figure import Figure

from tacolab.config import OWN
from tacolab.errors import UserError
from tacolab.quality.bd_rate import MIN_POINTS, bd_rate
from tacolab.quality.bootstrap import interval
from tacolab.stages.report.figures.drawing import save
from tacolab.stages.report.figures.style import (
    COLOURS,
    MARKERS,
    PLOT_HEIGHT,
    STYLE,
    WIDTH,
    frame,
    legend,
)
from tacolab.stages.report.frames import ARM
from tacolab.stages.report.latest import LATEST, drawing
from tacolab.stages.report.layout import INDEX, METRICS, PER_IMAGE, Metric, figure_file
from tacolab.stages.report.measure.codings import CODING, VALUES, Codings
from tacolab.stages.report.measure.differences import Pair, columns, no_interval
from tacolab.stages.report.page.html import environment
from tacolab.stages.report.page.shown_tables import shown

NAMES = ("first", "second")
DRAWN = tuple(metric for metric in METRICS if metric.column in ("psnr", "lpips_published"))


@dataclass(frozen=True)
class Side:
    """One of the two: its report's folder, what it says of every image and of every claim."""

    name: str
    folder: Path
    images: pd.DataFrame
    verdicts: pd.DataFrame


def run(first: Path, second: Path, folder: Path) -> Path:
    """Writes index.html, tables/ and figures/ below `folder`; returns the page.

    first, second: a results folder (its newest report counts) or the folder of a report. Raises
    UserError where there is no report, or the two have nothing in common.
    """
    sides = [_read(name, path) for name, path in zip(NAMES, (first, second), strict=True)]
    both = _both(sides)
    pictures = _pictures(both)
    unlike = _unlike(pictures)
    both = both[~both["dataset"].isin(unlike)]
    if both.empty:
        why = "; ".join(unlike.values()) or "no image was coded in both with the same arm and λ"
        raise UserError(f"{first} and {second}: {why}")
    codings = {
        (str(dataset), str(control)): Codings(part)
        for (dataset, control), part in both.groupby(["dataset", "control"], sort=False)
    }
    tables = {
        "points": _points(both, codings),
        "curves": _curves(codings),
        "verdicts": _verdicts(sides),
        "missing": _missing(sides),
    }
    with drawing(folder) as fresh:
        _draw(fresh, sides, tables, codings, unlike, pictures)
    return folder / INDEX


def _draw(
    folder: Path,
    sides: list[Side],
    tables: dict[str, pd.DataFrame],
    codings: dict[tuple[str, str], Codings],
    unlike: dict[str, str],
    pictures: pd.DataFrame,
) -> None:
    for name in ("tables", "figures"):
        (folder / name).mkdir()
    for name, table in tables.items():
        table.to_csv(folder / "tables" / f"{name}.csv", index=False)
    figures = []
    with mpl.rc_context(STYLE):
        for (dataset, control), metric in product(codings, DRAWN):
            if control == OWN:
                name = f"{dataset}-{metric.slug}"
                save(folder, name, *_figure(codings[dataset, control], dataset, metric))
                title = f"{metric.title} on {dataset}"
                figures.append({"file": figure_file(name, "svg"), "title": title})
    html = (
        environment()
        .get_template("compare.html")
        .render(
            sides=sides,
            unlike=unlike,
            partly=_partly(pictures[~pictures["dataset"].isin(unlike)]),
            figures=figures,
            tables={name: shown(table) for name, table in tables.items()},
            lengths={name: len(table) for name, table in tables.items()},
        )
    )
    (folder / INDEX).write_text(html, encoding="utf-8")


def _read(name: str, path: Path) -> Side:
    folder = path / "report" / LATEST
    if not folder.exists():
        folder = path
    try:
        images = pd.read_parquet(folder / PER_IMAGE)
        verdicts = pd.read_csv(folder / "tables/verdicts.csv").fillna("")
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        raise UserError(
            f"{path}: holds no report ({' '.join(str(error).split())}); name a results folder in "
            "which `snakemake` or `tacolab report` has made one, or the folder of a report"
        ) from None
    # Reports of earlier versions lack the metrics that have come since.
    images = images.assign(**{name: float("nan") for name in VALUES if name not in images})
    return Side(name, folder, images[images["kind"] == ARM], verdicts)


def _both(sides: list[Side]) -> pd.DataFrame:
    """The images of codings that both have; the source says whose: `taco first`."""
    which = ["dataset", *CODING]
    known = [set(map(tuple, side.images[which].fillna("").to_numpy())) for side in sides]
    common = known[0] & known[1]
    parts = []
    for side in sides:
        names = map(tuple, side.images[which].fillna("").to_numpy())
        part = side.images[[name in common for name in names]]
        parts.append(part.assign(source=part["source"] + f" {side.name}"))
    return pd.concat(parts, ignore_index=True)


def _pictures(both: pd.DataFrame) -> pd.DataFrame:
    """A row per picture: its size in each side, and in which of them it is (`only`)."""
    picture = ["dataset", "image_id"]
    sides = [both[both["source"].str.endswith(f" {name}")] for name in NAMES]
    sizes = [one[[*picture, "width", "height"]].drop_duplicates(picture) for one in sides]
    return sizes[0].merge(sizes[1], on=picture, how="outer", indicator="only")


def _unlike(pictures: pd.DataFrame) -> dict[str, str]:
    """Data set -> why its images are not the same in both: others, or cropped otherwise."""
    found = {}
    for dataset, part in pictures.groupby("dataset", sort=False):
        common = part[part["only"] == "both"]
        other = common["width_x"].ne(common["width_y"]) | common["height_x"].ne(common["height_y"])
        if common.empty:
            found[str(dataset)] = f"{dataset}: no image was coded in both"
        elif other.any():
            image, *size = common.loc[other, ["image_id", *_SIZES]].iloc[0]
            first, second = (f"{w:.0f} x {h:.0f}" for w, h in (size[:2], size[2:]))
            found[str(dataset)] = (
                f"{dataset} was coded at other sizes: {image} {first} against {second}"
            )
    return found


_SIZES = ("width_x", "height_x", "width_y", "height_y")


def _partly(pictures: pd.DataFrame) -> list[str]:
    """Data sets of which one side has images that the other has not: only the common ones count."""
    found = []
    for dataset, part in pictures.groupby("dataset", sort=False):
        for name, only, other in zip(NAMES, _ONLY, reversed(_ONLY), strict=True):
            if more := int((part["only"] == only).sum()):
                of = int((part["only"] != other).sum())
                found.append(f"{dataset}: {more} of {of} images only in the {name}")
    return found


_ONLY = ("left_only", "right_only")


def _points(both: pd.DataFrame, codings: dict[tuple[str, str], Codings]) -> pd.DataFrame:
    """The second against the first at every coding, over the images that both have."""
    mine = both[both["source"].str.endswith(NAMES[0])]
    rows = []
    for row in mine[["dataset", *CODING]].drop_duplicates().to_dict("records"):
        of = codings[row["dataset"], row["control"]]
        arm = str(row["source"]).removesuffix(f" {NAMES[0]}")
        at = row["lmbda"]
        pair = [
            {
                column: of.value(f"{arm} {name}", at, column, row["control"], row["seed"])
                for column in ("bpp_real", *(metric.column for metric in METRICS))
            }
            for name in NAMES
        ]
        line: dict[str, Any] = {"dataset": row["dataset"], "source": arm, "lmbda": at}
        line |= {"seed": row["seed"], "control": row["control"], "images": of.images}
        line |= {f"bpp_{n}": one["bpp_real"][0] for n, one in zip(NAMES, pair, strict=True)}
        change = 100 * (pair[1]["bpp_real"] / pair[0]["bpp_real"] - 1)
        line |= columns("bpp_change", interval(change, of.images))
        for metric in METRICS:
            change = pair[1][metric.column] - pair[0][metric.column]
            line |= columns(f"{metric.column}_change", interval(change, of.images))
        rows.append(line)
    return pd.DataFrame(rows)


def _curves(codings: dict[tuple[str, str], Codings]) -> pd.DataFrame:
    """BD-rate of the second against the first [%]."""
    rows = []
    for (dataset, control), of in codings.items():
        if control != OWN:
            continue
        for arm, metric in product(_arms(of), METRICS):
            pair = Pair(of, f"{arm} {NAMES[1]}", f"{arm} {NAMES[0]}", metric)
            curves = pair.curves()
            row = {"dataset": dataset, "source": arm, "metric": metric.column, "images": of.images}
            if min(map(len, curves)) < MIN_POINTS:
                rows.append(row | {"note": f"fewer than {MIN_POINTS} points"})
                continue
            found = interval(bd_rate(*curves), of.images)
            note = no_interval(of.images) if np.isnan(found.low) else ""
            rows.append(row | columns("bd_rate", found) | {"note": note})
    return pd.DataFrame(rows, columns=["dataset", "source", "metric", "images", *_BD, "note"])


_BD = ("bd_rate", "bd_rate_low", "bd_rate_high")


def _arms(of: Codings) -> list[str]:
    ending = f" {NAMES[0]}"
    return [arm.removesuffix(ending) for arm, _ in of.sources if arm.endswith(ending)]


def _verdicts(sides: list[Side]) -> pd.DataFrame:
    """Claims with both verdicts; those that differ first."""
    one, other = (side.verdicts[["id", "claim", "measured", "verdict"]] for side in sides)
    table = one.merge(other, on=["id", "claim"], how="outer", suffixes=("_first", "_second"))
    table = table.fillna("")
    differs = table["verdict_first"] != table["verdict_second"]
    names = ["claim", *(f"{c}_{n}" for c in ("measured", "verdict") for n in NAMES)]
    return table.assign(differs=differs).sort_values("differs", ascending=False, kind="stable")[
        [*names, "differs"]
    ]


def _missing(sides: list[Side]) -> pd.DataFrame:
    """Codings that only one of the two has."""
    which = ["dataset", *CODING]
    tables = [side.images[which].drop_duplicates().fillna("") for side in sides]
    merged = tables[0].merge(tables[1], on=which, how="outer", indicator="only")
    merged = merged[merged["only"] != "both"].drop(columns="quality")
    return merged.assign(only=merged["only"].map(dict(zip(_ONLY, NAMES, strict=True))))


def _figure(of: Codings, dataset: str, metric: Metric) -> tuple[Figure, pd.DataFrame]:
    """Both curves of every arm: the first solid, the second dashed."""
    figure = Figure(figsize=(WIDTH, PLOT_HEIGHT))
    axes = figure.add_subplot()
    frame(axes, dataset, metric.direction)
    axes.set_xlabel("rate [bit per pixel], whole files")
    axes.set_ylabel(metric.axis)
    sign = 1 if metric.higher_is_better else -1
    entries, rows = {}, []
    for number, arm in enumerate(_arms(of)):
        for name, line in zip(NAMES, ("-", (0, (4, 1.5))), strict=True):
            curve = of.estimates.curve(f"{arm} {name}", metric)
            style: dict[str, Any] = {
                "color": COLOURS[number % len(COLOURS)],
                "linestyle": line,
                "markersize": 4,
            }
            style["marker"] = MARKERS[number % len(MARKERS)]
            axes.plot(curve.rate[0], sign * curve.quality[0], **style)
            entries[f"{arm}, {name}"] = style
            points = zip(curve.rate[0], sign * curve.quality[0], strict=True)
            rows += [{"curve": f"{arm}, {name}", "bpp": x, metric.column: y} for x, y in points]
    legend(figure, axes, entries)
    return figure, pd.DataFrame(rows)
