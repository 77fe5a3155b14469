"""The report's numbers once more, from the per-image files with pandas and numpy alone.

Written without a look at the package, by loops and plain integration: slow and easy to check.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = ["bpp_real", "psnr", "ms_ssim", "lpips_published", "lpips"]


def evaluations(results: Path) -> pd.DataFrame:
    """A row per image and coding; which coding it is stands in the path."""
    frames = []
    for path in sorted(results.glob("evaluation/*/*/*/*/*/*.parquet")):
        arm, lmbda, seed, _key, dataset, control = (
            path.relative_to(results / "evaluation").with_suffix("").parts
        )
        images = pd.read_parquet(path).groupby("image_id")[COLUMNS].mean().reset_index()
        frames.append(
            images.assign(arm=arm, lmbda=lmbda, seed=seed, dataset=dataset, control=control)
        )
    return pd.concat(frames, ignore_index=True)


def quality(means: pd.DataFrame, metric: str) -> np.ndarray[Any, Any]:
    """Rising quality: MS-SSIM in dB, LPIPS negated."""
    values = means[metric].to_numpy()
    if metric == "ms_ssim":
        return np.asarray(-10 * np.log10(1 - values))
    return np.asarray(values if metric == "psnr" else -values)


def curve(frame: pd.DataFrame, metric: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """ln(rate) and quality by rising lambda: mean over images, then over seeds."""
    means = frame.groupby(["lmbda", "seed"])[COLUMNS].mean().groupby("lmbda").mean()
    means = means.sort_values("bpp_real")
    return np.log(means["bpp_real"].to_numpy()), quality(means, metric)


def monotone(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], at: Any) -> Any:
    """Fritsch and Butland's monotone cubic through (x, y), straight beyond its ends."""
    n = len(x)
    h = [x[i + 1] - x[i] for i in range(n - 1)]
    d = [(y[i + 1] - y[i]) / h[i] for i in range(n - 1)]
    m = [0.0] * n
    for i in range(1, n - 1):
        if d[i - 1] * d[i] > 0:
            w1, w2 = 2 * h[i] + h[i - 1], h[i] + 2 * h[i - 1]
            m[i] = (w1 + w2) / (w1 / d[i - 1] + w2 / d[i])
    for end, (h0, h1, d0, d1) in {
        0: (h[0], h[1], d[0], d[1]),
        n - 1: (h[-1], h[-2], d[-1], d[-2]),
    }.items():
        slope = ((2 * h0 + h1) * d0 - h0 * d1) / (h0 + h1)
        if slope * d0 <= 0:
            slope = 0.0
        elif d0 * d1 <= 0 and abs(slope) > 3 * abs(d0):
            slope = 3 * d0
        m[end] = slope
    found = []
    for q in np.atleast_1d(at):
        if q < x[0]:
            found.append(y[0] + (q - x[0]) * m[0])
        elif q > x[-1]:
            found.append(y[-1] + (q - x[-1]) * m[-1])
        else:
            i = min(int(np.searchsorted(x, q, side="right")) - 1, n - 2)
            t = (q - x[i]) / h[i]
            found.append(
                (1 + 2 * t) * (1 - t) ** 2 * y[i]
                + t * (1 - t) ** 2 * h[i] * m[i]
                + t**2 * (3 - 2 * t) * y[i + 1]
                + t**2 * (t - 1) * h[i] * m[i + 1]
            )
    return np.array(found)


def bd_rate(reference: pd.DataFrame, test: pd.DataFrame, metric: str) -> float:
    """Mean difference of ln(rate) over the common quality, by the trapezoid rule, in percent."""
    (rate, q), (test_rate, test_q) = curve(reference, metric), curve(test, metric)
    at = np.linspace(max(q[0], test_q[0]), min(q[-1], test_q[-1]), 2001)
    gap = monotone(test_q, test_rate, at) - monotone(q, rate, at)
    mean = (gap[:-1] + gap[1:]).sum() / 2 / (len(at) - 1)
    return float(100 * (np.exp(mean) - 1))


def bd_interval(
    reference: pd.DataFrame, test: pd.DataFrame, metric: str, resamples: int
) -> tuple[float, float]:
    """Percentiles over resampled images, the same for both arms; a loop."""
    random = np.random.default_rng(99)
    ids = sorted(reference["image_id"].unique())
    one, other = (
        frame.groupby(["lmbda", "image_id"])[COLUMNS].mean() for frame in (reference, test)
    )
    found = []
    for _ in range(resamples):
        drawn = random.choice(ids, len(ids))
        curves = []
        for table in (one, other):
            means = pd.DataFrame(
                {lm: table.loc[lm].loc[drawn].mean() for lm in table.index.levels[0]}
            ).T.sort_values("bpp_real")
            curves.append((np.log(means["bpp_real"].to_numpy()), quality(means, metric)))
        (rate, q), (test_rate, test_q) = curves
        at = np.linspace(max(q[0], test_q[0]), min(q[-1], test_q[-1]), 101)
        gap = monotone(test_q, test_rate, at) - monotone(q, rate, at)
        found.append(100 * (np.exp((gap[:-1] + gap[1:]).sum() / 200) - 1))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)
