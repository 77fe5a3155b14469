"""What other captions change: the same models with their own captions and with a control."""

import numpy as np
import pandas as pd

from tacolab.config import OWN, Study
from tacolab.quality.bootstrap import interval
from tacolab.quality.curves import rate_beside
from tacolab.stages.report.frames import ARM
from tacolab.stages.report.layout import METRICS
from tacolab.stages.report.measure.baselines import stand_ins
from tacolab.stages.report.measure.codings import Codings
from tacolab.stages.report.measure.differences import NOT_MEASURED, columns, word

BOTH = ("bpp_real", "psnr", "ms_ssim", "lpips_published", "lpips")
JUDGED = {"psnr": "rate_at_psnr", "lpips_published": "rate_at_lpips"}
ENDS = ("", "_low", "_high")
COLUMNS = [
    *("dataset", "source", "control", "lmbda", "images", "seeds"),
    *(f"{name}_{side}" for name in BOTH for side in ("own", "control")),
    *(f"bpp_change{end}" for end in ENDS),
    *(f"{name}_change{end}" for name in ("psnr", "lpips_published", "lpips") for end in ENDS),
    *(f"{name}{end}" for name in JUDGED.values() for end in (*ENDS, "_verdict")),
    "note",
]


def table(study: Study, images: pd.DataFrame) -> pd.DataFrame:
    """Own captions against each control, over the images that both coded, mean over seeds.

    *_change: at the same lambda, of bpp in %, else in the metric's unit. rate_at_*: how much more
    rate the control needs at the same quality [%], with a verdict by the margin: "worse" says that
    the content of the captions saves bits. What quality costs says the arm's own curve, where it
    has a single lambda that of its baseline, or of the protocol's.
    """
    rows = []
    arms = images[images["kind"] == ARM]
    for dataset in study.protocol.datasets:
        here = arms[arms["dataset"] == dataset]
        for control in dict.fromkeys(here["control"]):
            if control != OWN:
                with_control = here.loc[here["control"] == control, "source"].unique()
                chosen = _paired(here[here["control"].isin([OWN, control])])
                shown = {*with_control, *map(study.baseline_of, with_control)}
                shown.add(study.protocol.baseline)
                codings = Codings(chosen[chosen["source"].isin(shown)])
                rows += [
                    {"dataset": dataset, "source": arm, "control": control}
                    | _row(study, codings, str(arm), str(control), lmbda)
                    for arm in with_control
                    for lmbda in codings.lambdas(str(arm), str(control))
                ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _paired(images: pd.DataFrame) -> pd.DataFrame:
    """Both codings by the same models alone: of a model that misses one (it is not there yet) the
    other would count training noise as what a caption does. Its own stays, where none has both."""
    model = ["source", "lmbda", "seed"]
    both = images.groupby(model)["control"].transform("nunique") == 2
    some = both.groupby([images["source"], images["lmbda"]]).transform("any")
    return images[both | (~some & (images["control"] == OWN))]


def _row(study: Study, of: Codings, arm: str, control: str, lmbda: str) -> dict[str, object]:
    own = {name: of.value(arm, lmbda, name) for name in BOTH}
    other = {name: of.value(arm, lmbda, name, control) for name in BOTH}
    row: dict[str, object] = {
        "lmbda": lmbda,
        "images": of.images,
        "seeds": len(of.seeds(arm, lmbda, control)),
    }
    for name in BOTH:
        row |= {f"{name}_own": own[name][0], f"{name}_control": other[name][0]}
    rate = 100 * (other["bpp_real"] / own["bpp_real"] - 1)
    row |= columns("bpp_change", interval(rate, of.images))
    for name in ("psnr", "lpips_published", "lpips"):
        row |= columns(f"{name}_change", interval(other[name] - own[name], of.images))
    names = (arm, study.baseline_of(arm), study.protocol.baseline)
    arms = [name for name in names if len(of.lambdas(name)) > 1]
    row["note"] = stand_ins(study, arm, *arms[:1])
    for metric in METRICS:
        if judged := JUDGED.get(metric.column):
            more = np.full_like(rate, np.nan)
            if arms:
                points = (
                    (other["bpp_real"], of.quality(arm, lmbda, metric, control)),
                    (own["bpp_real"], of.quality(arm, lmbda, metric)),
                )
                more = rate_beside(of.curve(arms[0], metric), *points)
            found = interval(more, of.images)
            row |= columns(judged, found)
            verdict = word(found, study.protocol.margins.bd_rate)
            if row["note"]:
                verdict = NOT_MEASURED
            row[f"{judged}_verdict"] = verdict
    return row
