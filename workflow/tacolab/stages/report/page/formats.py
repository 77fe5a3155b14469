"""Cells, heads and whole tables as people read them: for the page, Markdown and LaTeX.

A number and its interval (columns x, x_low, x_high) are one cell: `-1.20 [-1.90, -0.40]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pandas as pd

from tacolab.stages.report.layout import DISTANCES, METRICS

TITLES = {metric.column: metric.axis for metric in (*METRICS, *DISTANCES)}
_BOTH = ("bpp_real", "psnr", "ms_ssim", "lpips_published", "lpips")
FORMATS = {
    "bpp_real": ".4f",
    "bpp_est": ".4f",
    "psnr": ".2f",
    "ms_ssim": ".4f",
    "lpips_published": ".4f",
    "lpips": ".4f",
    "fid": ".3f",
    "cmmd": ".3f",
    **{f"{name}_best": ".4f" for name in ("bpp_real", "lpips_published", "lpips")},
    "psnr_best": ".2f",
    "encode_seconds": ".3f",
    "decode_seconds": ".3f",
    "bd_rate": "+z.2f",
    "bd_rate_akima": "+z.2f",
    "bd_quality": "+z.4f",
    "overlap": ".2f",
    "seeds_range": "+z.2f",
    "rate_change": "+z.2f",
    "change": "+z.4f",
    "change_percent": "+z.2f",
    "at_equal_rate": "+z.4f",
    "at_equal_rate_percent": "+z.2f",
    "at_equal_quality": "+z.2f",
    **{f"{name}_{side}": ".4f" for name in _BOTH for side in ("own", "control")},
    "bpp_first": ".4f",
    "bpp_second": ".4f",
    "bpp_change": "+z.2f",
    "ms_ssim_change": "+z.5f",
    "psnr_change": "+z.3f",
    "lpips_published_change": "+z.5f",
    "lpips_change": "+z.5f",
    "rate_at_psnr": "+z.2f",
    "rate_at_lpips": "+z.2f",
    "value": ".4f",
    "of_reference": ".4f",
    "of_arm": ".4f",
    "claimed_from": ".4f",
    "claimed_to": ".4f",
    "bpp_published": ".4f",
    "bpp_deviation": "+z.2f",
    "psnr_published": ".2f",
    "psnr_deviation": "+z.3f",
    "lpips_claimed": ".4f",
    "milliseconds": ".2f",
    "ratio": ".3f",
    "memory": ".0f",
    "multiply_adds": ",.0f",
    "attention_products": ",.0f",
    "words": ".0f",
    "words_90": ".0f",
    "mean_tokens": ".1f",
    "captions_cut": ".1f",
    "tokens_cut": ".1f",
    "minutes": ".1f",
    "best_loss": ".4f",
}

# Heads as people read them; a column that is not here stands under its own name.
HEADS = {
    "dataset": "data set",
    "source": "arm or codec",
    "claimed_in": "claimed in",
    "reference": "against",
    "lmbda": "λ",
    "control": "captions",
    "bpp_real": "bpp (file)",
    "bpp_est": "bpp (estimated)",
    "psnr": "PSNR [dB]",
    "ms_ssim": "MS-SSIM",
    "lpips_published": "LPIPS (published range)",
    "lpips": "LPIPS (standard range)",
    "fid": "FID",
    "cmmd": "CMMD",
    "best_of": "captions, of which the best (oracle, by LPIPS):",
    "bpp_real_best": "bpp of the best",
    "psnr_best": "PSNR of the best [dB]",
    "lpips_published_best": "LPIPS of the best (published range)",
    "lpips_best": "LPIPS of the best (standard range)",
    "encode_seconds": "encode [s]",
    "decode_seconds": "decode [s]",
    "bd_rate": "BD-rate [%]",
    "bd_rate_akima": "check: akima [%]",
    "bd_quality": "BD-quality",
    "seeds_range": "single seeds [%]",
    "rate_change": "bpp, same λ [%]",
    "change": "change, same λ",
    "change_percent": "change [%]",
    "at_equal_rate": "quality at equal rate",
    "at_equal_rate_percent": "quality at equal rate [%]",
    "at_equal_quality": "rate at equal quality [%]",
    "bpp_real_own": "bpp, own",
    "bpp_real_control": "bpp, control",
    "bpp_first": "bpp, first",
    "bpp_second": "bpp, second",
    "bpp_change": "change of bpp [%]",
    "ms_ssim_change": "change of MS-SSIM",
    "psnr_change": "change of PSNR [dB]",
    "lpips_published_change": "change of LPIPS (published range)",
    "lpips_change": "change of LPIPS (standard range)",
    "rate_at_psnr": "rate at equal PSNR [%]",
    "rate_at_psnr_verdict": "by PSNR",
    "rate_at_lpips": "rate at equal LPIPS [%]",
    "rate_at_lpips_verdict": "by LPIPS",
    "of_reference": "baseline",
    "of_arm": "arm",
    "claimed_from": "claimed: baseline",
    "claimed_to": "claimed: arm",
    "bpp_published": "bpp (authors)",
    "bpp_deviation": "deviation of bpp [%]",
    "psnr_published": "PSNR (authors) [dB]",
    "psnr_deviation": "deviation of PSNR [dB]",
    "lpips_claimed": "LPIPS (authors, published range)",
    "words": "words, median",
    "words_90": "words, 9 of 10 at most",
    "positions": "positions read",
    "mean_tokens": "tokens, mean",
    "captions_cut": "captions cut [%]",
    "tokens_cut": "tokens cut [%]",
    "pairs": "image-caption pairs",
    "minutes": "training [min]",
    "best_step": "best step",
    "best_loss": "best validation loss",
    "adapter_parameters": "of it text adapter",
    "tokens": "text [tokens]",
    "side": "image side [pixels]",
    "channels": "channels of the adapter",
    "milliseconds": "time [ms]",
    "ratio": "time against softmax, in turns",
    "memory": "peak memory [MiB]",
    "multiply_adds": "multiply-adds",
    "attention_products": "of it attention products",
}


@dataclass(frozen=True)
class Column:
    """A column as it is read: its name and head, whether it holds numbers, its cells."""

    name: str
    head: str
    numeric: bool
    cells: list[str]


def columns(frame: pd.DataFrame, hide: Sequence[str] = ()) -> list[Column]:
    """The columns that hold anything; a number's interval in its cell."""
    frame = _with_ranges(frame)
    ends = {f"{name}{end}" for name in frame for end in ("_low", "_high") if f"{name}_low" in frame}
    shown = []
    for name in map(str, frame):
        cells = [text(name, value) for value in frame[name]]
        if name in hide or name in ends or not any(cells):
            continue
        if f"{name}_low" in frame:
            low, high = ([text(name, v) for v in frame[f"{name}{e}"]] for e in ("_low", "_high"))
            cells = [
                f"{cell} [{a}, {b}]" if a and b else cell
                for cell, a, b in zip(cells, low, high, strict=True)
            ]
        shown.append(Column(name, HEADS.get(name, name), _numeric(name, frame), cells))
    return shown


def _with_ranges(frame: pd.DataFrame) -> pd.DataFrame:
    """seeds_low and seeds_high as one column."""
    if "seeds_low" not in frame:
        return frame
    pairs = zip(frame["seeds_low"], frame["seeds_high"], strict=True)
    joined = [f"{low:+z.2f} to {high:+z.2f}" if low == low else "" for low, high in pairs]
    at = frame.columns.get_loc("seeds_low")
    frame = frame.drop(columns=["seeds_low", "seeds_high"])
    frame.insert(int(at), "seeds_range", joined)  # type: ignore[arg-type]  # the names are distinct
    return frame


def text(column: str, value: Any) -> str:
    """A cell for people: rounded as `FORMATS` says, empty where there is no number."""
    if value is None or pd.isna(value):
        return ""
    if column == "metric":
        return TITLES.get(value, str(value))
    if isinstance(value, bool):
        return "yes" if value else ""
    if column in FORMATS and not isinstance(value, str):
        return f"{value:{FORMATS[column]}}"
    if isinstance(value, float) and value.is_integer():  # an integer column with gaps
        return str(int(value))
    return str(value)


def _numeric(column: str, frame: pd.DataFrame) -> bool:
    """Whether a column holds numbers, to be set flush right."""
    return column in FORMATS or pd.api.types.is_numeric_dtype(frame[column])


def _rows(shown: list[Column]) -> list[list[str]]:
    return [list(row) for row in zip(*(column.cells for column in shown), strict=True)]


def markdown(frame: pd.DataFrame) -> str:
    """A GitHub table, aligned in plain text too."""
    shown = columns(frame)
    if not shown:
        return "(empty)\n"
    lines = [[column.head for column in shown]]
    lines += [[cell.replace("|", "\\|") for cell in row] for row in _rows(shown)]
    widths = [max(3, *(len(line[at]) for line in lines)) for at in range(len(shown))]

    def laid_out(line: list[str]) -> str:
        cells = (
            cell.rjust(width) if column.numeric else cell.ljust(width)
            for cell, width, column in zip(line, widths, shown, strict=True)
        )
        return f"| {' | '.join(cells)} |\n"

    rule = (
        "-" * (width - 1) + (":" if column.numeric else "-")
        for width, column in zip(widths, shown, strict=True)
    )
    return laid_out(lines[0]) + f"| {' | '.join(rule)} |\n" + "".join(map(laid_out, lines[1:]))


_LATEX = {
    "\\": r"\textbackslash{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "λ": r"$\lambda$",
}


def latex(frame: pd.DataFrame) -> str:
    r"""A `tabular` for \input, in the style of booktabs (\usepackage{booktabs})."""
    shown = columns(frame)
    if not shown:
        return "% empty\n"

    def line(cells: Sequence[str]) -> str:
        # A row that begins with [ would be taken for an argument of the line break before it.
        texts = ["".join(_LATEX.get(c, c) for c in cell).replace("[", "{[}") for cell in cells]
        return " & ".join(texts) + r" \\"

    return "\n".join(
        [
            rf"\begin{{tabular}}{{{''.join('r' if c.numeric else 'l' for c in shown)}}}",
            r"\toprule",
            line([column.head for column in shown]),
            r"\midrule",
            *(line(row) for row in _rows(shown)),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def spread(values: list[Any]) -> str:
    """`a`, or `a to b` where values differ; empty where none is known."""
    known = sorted({Decimal(str(value)) for value in values if value is not None})
    if not known:
        return ""
    first, last = f"{known[0]:,}", f"{known[-1]:,}"
    return first if first == last else f"{first} to {last}"
