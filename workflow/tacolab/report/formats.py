"""Cells, heads and whole tables as people read them: for the page, Markdown and LaTeX."""

from decimal import Decimal
from typing import Any

import pandas as pd

from tacolab.report.layout import METRICS

FORMATS = {
    "bpp_real": ".4f",
    "bpp_est": ".4f",
    "psnr": ".2f",
    "ms_ssim": ".4f",
    "lpips_published": ".4f",
    "lpips": ".4f",
    "encode_seconds": ".3f",
    "decode_seconds": ".3f",
    "bd_rate": "+z.2f",
    "bd_rate_akima": "+z.2f",
    "bd_quality": "+z.4f",
    "overlap": ".2f",
    "bpp_own": ".4f",
    "bpp_control": ".4f",
    "bpp_change": "+z.2f",
    "psnr_change": "+z.3f",
    "lpips_published_own": ".4f",
    "lpips_published_control": ".4f",
    "lpips_own": ".4f",
    "lpips_control": ".4f",
    "minutes": ".1f",
    "best_loss": ".4f",
}

# Heads as people read them; a column that is not here stands under its own name.
HEADS = {
    "dataset": "data set",
    "source": "arm or codec",
    "lmbda": "λ",
    "control": "captions",
    "bpp_real": "bpp (file)",
    "bpp_est": "bpp (estimated)",
    "psnr": "PSNR [dB]",
    "ms_ssim": "MS-SSIM",
    "lpips_published": "LPIPS (published range)",
    "lpips": "LPIPS (standard range)",
    "encode_seconds": "encode [s]",
    "decode_seconds": "decode [s]",
    "bd_rate": "BD-rate [%]",
    "bd_rate_akima": "check: akima [%]",
    "bd_quality": "BD-quality",
    "bpp_own": "bpp, own",
    "bpp_control": "bpp, control",
    "bpp_change": "change of bpp [%]",
    "psnr_change": "change of PSNR [dB]",
    "lpips_published_own": "LPIPS (published range), own",
    "lpips_published_control": "LPIPS (published range), control",
    "lpips_own": "LPIPS (standard range), own",
    "lpips_control": "LPIPS (standard range), control",
    "samples": "image-caption pairs",
    "minutes": "training [min]",
    "best_step": "best step",
    "best_loss": "best validation loss",
    "adapter_parameters": "of it text adapter",
}

TITLES = {metric.column: metric.title for metric in METRICS}


def text(column: str, value: Any) -> str:
    """A cell for people: rounded as `FORMATS` says, empty where there is no number."""
    if value is None or pd.isna(value):
        return ""
    if column == "metric":
        return TITLES[value]
    if column in FORMATS:
        return f"{value:{FORMATS[column]}}"
    if isinstance(value, float) and value.is_integer():  # an integer column with gaps
        return str(int(value))
    return str(value)


def cells(frame: pd.DataFrame) -> list[list[str]]:
    """The rows of a table as `text`."""
    columns = [[text(str(column), value) for value in frame[column]] for column in frame]
    return [list(row) for row in zip(*columns, strict=True)]


def head(column: str) -> str:
    """A column's head."""
    return HEADS.get(column, column)


def numeric(column: str, frame: pd.DataFrame) -> bool:
    """Whether a column holds numbers, to be set flush right."""
    return column in FORMATS or pd.api.types.is_numeric_dtype(frame[column])


def without_empty(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns that hold anything."""
    return frame.loc[
        :, [bool((frame[column].notna() & (frame[column] != "")).any()) for column in frame]
    ]


def markdown(frame: pd.DataFrame) -> str:
    """A GitHub table, aligned in plain text too."""
    lines = [[head(str(column)) for column in frame]]
    lines += [[cell.replace("|", "\\|") for cell in row] for row in cells(frame)]
    widths = [max(3, *(len(line[at]) for line in lines)) for at in range(len(frame.columns))]
    right = [numeric(str(column), frame) for column in frame]

    def laid_out(line: list[str]) -> str:
        cells = (
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(line, widths, right, strict=True)
        )
        return f"| {' | '.join(cells)} |\n"

    rule = (
        "-" * (width - 1) + (":" if flush else "-")
        for width, flush in zip(widths, right, strict=True)
    )
    return laid_out(lines[0]) + f"| {' | '.join(rule)} |\n" + "".join(map(laid_out, lines[1:]))


def spread(values: list[Any]) -> str:
    """`a`, or `a to b` where values differ; empty where none is known."""
    known = sorted({Decimal(str(value)) for value in values if value is not None})
    if not known:
        return ""
    first, last = f"{known[0]:,}", f"{known[-1]:,}"
    return first if first == last else f"{first} to {last}"
