"""FID, CMMD and their intervals against plain computations of the definitions."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from cleanfid.fid import frechet_distance
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from tacolab.quality import cmmd as kernel
from tacolab.quality.cmmd import cmmd
from tacolab.quality.frechet import fid
from tacolab.quality.jackknife import grouped, interval
from tacolab.stages.evaluate.distribution import summary

Floats = npt.NDArray[np.floating]
CPU = torch.device("cpu")


@pytest.fixture
def sets() -> tuple[Floats, Floats]:
    """Two sets of 130 correlated features far from 0, the second slightly off."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(24, 24))
    a = rng.normal(size=(130, 24)) @ mix + 5
    b = a + 0.3 * rng.normal(size=a.shape) + 0.1
    return a.astype(np.float32), b.astype(np.float32)


def plain_fid(a: Floats, b: Floats) -> float:
    """The definition, with scipy's matrix square root."""
    (mean_a, cov_a), (mean_b, cov_b) = (
        (x.astype(float).mean(0), np.cov(x.astype(float), rowvar=False)) for x in (a, b)
    )
    root = sqrtm(cov_a @ cov_b).real
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root))


def plain_cmmd(a: Floats, b: Floats) -> float:
    """The definition, with all of the three kernel matrices at once."""
    a, b = (x.astype(float) / np.linalg.norm(x.astype(float), axis=1)[:, None] for x in (a, b))
    xx, yy, xy = (
        np.exp(-cdist(p, q, "sqeuclidean") / (2 * 10**2)).mean()
        for p, q in ((a, a), (b, b), (a, b))
    )
    return float(1000 * (xx + yy - 2 * xy))


def test_fid_is_that_of_scipys_square_root_and_of_clean_fid(sets: tuple[Floats, Floats]) -> None:
    value, _ = fid(*sets, grouped(130))
    assert value == pytest.approx(plain_fid(*sets), rel=1e-9)
    moments = [m for x in sets for m in (x.astype(float).mean(0), np.cov(x, rowvar=False))]
    assert value == pytest.approx(frechet_distance(*moments), rel=1e-6)
    assert fid(sets[0], sets[0], grouped(130))[0] == pytest.approx(0, abs=1e-8)


def test_fid_of_fewer_samples_than_features_is_finite(sets: tuple[Floats, Floats]) -> None:
    """Singular covariances, as of any small data set."""
    few = [x[:12] for x in sets]
    assert fid(few[0], few[1], grouped(12))[0] == pytest.approx(plain_fid(*few), rel=1e-4)


def test_cmmd_is_that_of_the_whole_kernel_matrices(
    sets: tuple[Floats, Floats], monkeypatch: pytest.MonkeyPatch
) -> None:
    value, left_out = cmmd(*sets, grouped(130), CPU)
    assert value == pytest.approx(plain_cmmd(*sets), rel=1e-9)
    assert cmmd(sets[0], sets[0], grouped(130), CPU)[0] == pytest.approx(0, abs=1e-10)
    # Blocks of a few rows, as memory demands, change nothing.
    monkeypatch.setattr(kernel, "ROWS", 4)
    again = cmmd(*sets, grouped(130), CPU)
    assert again[0] == pytest.approx(value, rel=1e-12)
    assert again[1] == pytest.approx(left_out, rel=1e-12)


@pytest.mark.parametrize("count", [130, 24])  # groups of 6 and 7, and of 1 and 2
def test_values_without_a_group_are_those_of_the_rest(
    sets: tuple[Floats, Floats], count: int
) -> None:
    a, b = (x[:count] for x in sets)
    groups = grouped(count)
    rest = [groups != g for g in range(20)]
    assert cmmd(a, b, groups, CPU)[1] == pytest.approx([plain_cmmd(a[r], b[r]) for r in rest])
    assert fid(a, b, groups)[1] == pytest.approx([plain_fid(a[r], b[r]) for r in rest], rel=1e-4)


def test_a_tables_numbers_come_with_their_intervals(sets: tuple[Floats, Floats]) -> None:
    """Of 26 images with five patches each: groups are of images, all patches of one together."""
    a, b = sets
    samples = np.full(26, 5)
    of, found = ({"samples": samples, "inception": x, "clip": x[::5]} for x in (a, b))
    row = summary(of, found, {"fid_min_samples": 130}, stand_in=False, device=CPU)
    assert (row["images"], row["groups"], row["fid_samples"]) == (26, 20, 130)
    assert row["group_sizes"] == [2] * 6 + [1] * 14
    groups = grouped(26)
    fids, cmmds = fid(a, b, np.repeat(groups, 5)), cmmd(a[::5], b[::5], groups, CPU)
    for name, (value, without) in (("fid", fids), ("cmmd", cmmds)):
        ends = interval(value, without, row["group_sizes"])
        assert (row[name], row[f"{name}_without"]) == (value, without)
        assert (row[f"{name}_low"], row[f"{name}_high"]) == ends
        assert row[f"{name}_low"] < value < row[f"{name}_high"]
    few = summary(of, found, {"fid_min_samples": 131}, stand_in=True, device=CPU)
    assert few["fid"] is few["fid_low"] is few["fid_high"] is few["cmmd"] is None
    assert few["stand_in_for_cmmd"] == row["cmmd"]
    assert few["stand_in_for_cmmd_low"] == row["cmmd_low"]


def test_the_interval_of_a_mean_is_students(sets: tuple[Floats, Floats]) -> None:
    """Of a mean of equal groups the jackknife is the textbook interval of the groups' means."""
    values = sets[0][:120, 0].astype(float)
    groups = grouped(120)
    means = np.array([values[groups == g].mean() for g in range(20)])
    low, high = interval(
        values.mean(), [values[groups != g].mean() for g in range(20)], np.bincount(groups).tolist()
    ) or (0, 0)
    reach = 2.093024 * means.std(ddof=1) / np.sqrt(20)  # t of 19 degrees of freedom
    assert (low, high) == pytest.approx((values.mean() - reach, values.mean() + reach), rel=1e-6)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of the variance of normal numbers."""
    rng = np.random.default_rng(1)
    groups = grouped(200)
    sizes = np.bincount(groups).tolist()
    covered = 0
    for _ in range(300):
        x = rng.normal(size=200)
        without = [x[groups != g].var(ddof=1) for g in range(20)]
        low, high = interval(float(x.var(ddof=1)), without, sizes) or (0, 0)
        covered += low < 1 < high
    assert 0.90 < covered / 300 < 0.98


def test_one_group_has_no_interval() -> None:
    assert interval(1.0, [1.0], [3]) is None
    assert (
        cmmd(np.ones((1, 3), np.float32), np.eye(3, dtype=np.float32)[:1], grouped(1), CPU)[1] == []
    )
