"""Tables of the report: headline numbers, caption controls, models; as CSV and Markdown.

CSV files hold the numbers in full, Markdown and the page hold them rounded by `FORMATS`.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd

from tacolab.config import OWN, Study
from tacolab.report import curves
from tacolab.report.inputs import ARM, VALUES, Inputs, Model
from tacolab.report.layout import METRICS, PER_IMAGE

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


def results(study: Study, inputs: Inputs) -> pd.DataFrame:
    """The headline: a row per arm, lambda, seed and control, and per quality of an anchor."""
    points = inputs.points.copy()
    textless = [name for name, arm in study.arms.items() if arm.text is None]
    points.loc[points["source"].isin(textless), "control"] = None  # it reads no captions
    columns = ["dataset", "source", "lmbda", "quality", "seed", "control", "images", "captions"]
    return points[[*columns, *VALUES]].rename(columns={"captions": "codings"})


def controls(inputs: Inputs) -> pd.DataFrame:
    """What other captions change: own against control, over the images that both coded."""
    images = inputs.images[inputs.images["kind"] == ARM]
    which = ["dataset", "source", "lmbda", "seed"]
    own = images[images["control"] == OWN]
    joined = images[images["control"] != OWN].merge(
        own, on=[*which, "image_id"], suffixes=("_control", "_own")
    )
    rows = []
    for identity, part in joined.groupby([*which, "control_control"], sort=False):
        mean = part.mean(numeric_only=True)
        rows.append(
            dict(zip([*which, "control"], identity, strict=True))
            | {
                "images": len(part),
                "bpp_own": mean["bpp_real_own"],
                "bpp_control": mean["bpp_real_control"],
                "bpp_change": 100 * (mean["bpp_real_control"] / mean["bpp_real_own"] - 1),
                "psnr_change": mean["psnr_control"] - mean["psnr_own"],
            }
            | {
                f"{name}_{side}": mean[f"{name}_{side}"]
                for name in ("lpips_published", "lpips")
                for side in ("own", "control")
            }
        )
    return pd.DataFrame(rows, columns=_CONTROLS)


_CONTROLS = [
    "dataset",
    "source",
    "lmbda",
    "seed",
    "control",
    "images",
    "bpp_own",
    "bpp_control",
    "bpp_change",
    "psnr_change",
    "lpips_published_own",
    "lpips_published_control",
    "lpips_own",
    "lpips_control",
]


def models(inputs: Inputs) -> pd.DataFrame:
    """The trained models: what each cost and where it came from."""
    return pd.DataFrame([_model(model) for model in inputs.models])


def _model(model: Model) -> dict[str, Any]:
    info = model.info
    seconds = info.get("seconds")
    best = info.get("validation", {}).get("best", {})
    codec = info.get("codec", {})
    return {
        "arm": model.arm,
        "lmbda": model.lmbda,
        "seed": model.seed,
        "key": model.artefact.key,
        "epochs": info.get("epochs"),
        "steps": info.get("steps"),
        "samples": info.get("samples"),
        "minutes": None if seconds is None else seconds / 60,
        "segments": info.get("segments"),
        "best_step": best.get("step"),
        "best_loss": best.get("loss"),
        "parameters": codec.get("parameters"),
        "adapter_parameters": codec.get("adapter_parameters"),
        "revision": info.get("provenance", {}).get("revision"),
    }


def make(study: Study, inputs: Inputs) -> dict[str, pd.DataFrame]:
    """Every table by the name that `layout.TABLES` gives it."""
    return {
        "results": results(study, inputs),
        "bd": curves.bd_table(study, inputs.points),
        "controls": controls(inputs),
        "models": models(inputs),
    }


def write(folder: Path, frames: dict[str, pd.DataFrame], inputs: Inputs) -> None:
    """Writes tables/*.csv, tables/*.md and the per-image table below `folder`."""
    (folder / "tables").mkdir()
    for name, frame in frames.items():
        frame.to_csv(folder / "tables" / f"{name}.csv", index=False)
        (folder / "tables" / f"{name}.md").write_text(markdown(frame), encoding="utf-8")
    inputs.images.to_csv(folder / PER_IMAGE, index=False)


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
