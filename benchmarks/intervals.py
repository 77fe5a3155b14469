"""How long the report's bootstrap over images takes, against a loop that resamples one by one.

    python benchmarks/intervals.py --images 30504 --arms 8

Synthetic curves of six lambdas, 10,000 resamples, PSNR alone in the differences. The loop is timed
on 20 resamples of one pair of arms and scaled up.
"""

import argparse
import resource
import time

import bjontegaard
import numpy as np
import pandas as pd

from tacolab.quality.bd_rate import bd_rate
from tacolab.quality.bootstrap import RESAMPLES, interval
from tacolab.stages.report.layout import METRICS
from tacolab.stages.report.measure.codings import VALUES, Codings
from tacolab.stages.report.measure.differences import Pair

LAMBDAS = ["0.0004", "0.0008", "0.0016", "0.004", "0.009", "0.015"]


def arm(name: str, images: int, random: np.random.Generator) -> pd.DataFrame:
    """An evaluation as the report reads it."""
    frames = []
    for lmbda in LAMBDAS:
        rate = 12 * float(lmbda) ** 0.55 * np.exp(0.5 * random.normal(size=images))
        psnr = 45 + 4 * np.log(float(lmbda)) + random.normal(size=images)
        values = {"psnr": psnr, "bpp_real": rate, "ms_ssim": 1 - np.exp(-psnr / 5)}
        frame = pd.DataFrame({name: values.get(name, np.exp(-psnr / 9)) for name in VALUES})
        frames.append(frame.assign(image_id=np.arange(images).astype(str), lmbda=lmbda))
    return pd.concat(frames, ignore_index=True).assign(
        source=name, control="own", quality=None, seed="100"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=30504)
    parser.add_argument("--arms", type=int, default=8)
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    names = [f"arm{n}" for n in range(arguments.arms)]
    images = pd.concat([arm(name, arguments.images, random) for name in names])

    started = time.perf_counter()
    of = Codings(images)
    means = time.perf_counter() - started
    started = time.perf_counter()
    for name in names[1:]:
        interval(bd_rate(*Pair(of, name, names[0], METRICS[0]).curves()), of.images)
    differences = time.perf_counter() - started

    tables = [
        images[images["source"] == name].pivot(index="image_id", columns="lmbda", values=value)
        for name in names[:2]
        for value in ("bpp_real", "psnr")
    ]
    started = time.perf_counter()
    for _ in range(20):
        drawn = random.integers(0, arguments.images, arguments.images)
        curves = [np.sort(table.to_numpy()[drawn].mean(axis=0)) for table in tables]
        bjontegaard.bd_rate(*curves, method="pchip")
    loop = (time.perf_counter() - started) / 20 * RESAMPLES

    codings = arguments.arms * len(LAMBDAS) * len(VALUES)
    print(f"{arguments.images:,} images, {codings} columns, {RESAMPLES:,} resamples")
    print(f"resampled means of all columns: {means:.1f} s")
    print(f"{len(names) - 1} BD-rates with intervals: {differences:.2f} s")
    print(f"loop: {loop:.0f} s for one pair and metric, {len(names) - 1} pairs: "
          f"{loop * (len(names) - 1) / (means + differences):.0f} times as long")  # fmt: skip
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
