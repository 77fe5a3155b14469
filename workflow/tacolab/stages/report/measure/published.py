"""Numbers that others published, and how far the authors' weights are from the authors' numbers."""

import io
from pathlib import Path

import pandas as pd

from tacolab.config import OWN, Study
from tacolab.stages.report.frames import ARM
from tacolab.stages.report.measure.baselines import stand_ins

TACO = "TACO (released)"
# Beyond these a deviation is flagged.
BPP_LIMIT, PSNR_LIMIT = 0.5, 0.05  # [%], [dB]
COLUMNS = [
    *("dataset", "arm", "lmbda", "caption", "images", "bpp_real", "bpp_published"),
    *("bpp_deviation", "psnr", "psnr_published", "psnr_deviation"),
    *("lpips_published", "lpips_claimed", "flagged", "note"),
]


def published() -> pd.DataFrame:
    """Anchor points from the literature, measured by others on Kodak; committed with their source.

    Columns: source, citation, dataset, lmbda, caption, bpp, psnr [dB], lpips_published, lpips.
    """
    text = Path(__file__).with_name("published.csv").read_bytes()
    return pd.read_csv(io.BytesIO(text), dtype={"lmbda": str})


def evaluated(study: Study) -> list[str]:
    """Arms whose weights others trained."""
    return [name for name in study.arms_with_runs() if study.arms[name].checkpoints]


def table(study: Study, points: pd.DataFrame) -> pd.DataFrame:
    """The authors' weights evaluated here beside the authors' own numbers, by lambda and caption.

    bpp_deviation [%], psnr_deviation [dB]; flagged: one of them is beyond its limit. PSNR and LPIPS
    are those of unrounded pixels where they were measured, as the authors did.
    """
    known = published()
    known = known[known["source"] == TACO].rename(
        columns={
            "bpp": "bpp_published",
            "psnr": "psnr_published",
            "lpips_published": "lpips_claimed",
        }
    )
    measured = points[(points["kind"] == ARM) & points["source"].isin(evaluated(study))]
    measured = measured.rename(columns={"control": "caption", "source": "arm"}).drop(
        columns="lpips"
    )
    measured = measured[measured["caption"].isin([OWN, "empty"])]
    rows = measured.merge(
        known[["dataset", "lmbda", "caption", "bpp_published", "psnr_published", "lpips_claimed"]],
        on=["dataset", "lmbda", "caption"],
    )
    for name in ("psnr", "lpips_published"):
        rows[name] = rows[f"{name}_float"].fillna(rows[name])
    rows["bpp_deviation"] = 100 * (rows["bpp_real"] / rows["bpp_published"] - 1)
    rows["psnr_deviation"] = rows["psnr"] - rows["psnr_published"]
    rows["flagged"] = (rows["bpp_deviation"].abs() > BPP_LIMIT) | (
        rows["psnr_deviation"].abs() > PSNR_LIMIT
    )
    rows["note"] = [stand_ins(study, arm) for arm in rows["arm"]]
    return rows[COLUMNS]
