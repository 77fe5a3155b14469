"""FID from features: the Frechet distance between two Gaussians (Heusel et al., NeurIPS 2017)."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


def distance(mean_a: Floats, cov_a: Floats, mean_b: Floats, cov_b: Floats) -> float:
    """|mean_a - mean_b|^2 + Tr(cov_a + cov_b - 2 (cov_a cov_b)^(1/2)); d, d x d, float64.

    The trace of the root is the sum of the roots of the eigenvalues of cov_a cov_b. Those are real
    and not negative, being the eigenvalues of the symmetric F^T cov_b F with F F^T = cov_a: ten
    times faster than a matrix square root, and without its imaginary parts.
    """
    values, vectors = np.linalg.eigh(cov_a)
    factor = vectors * np.sqrt(np.maximum(values, 0))
    roots = np.sqrt(np.maximum(np.linalg.eigvalsh(factor.T @ cov_b @ factor), 0))
    difference = mean_a - mean_b
    return float(difference @ difference + np.trace(cov_a) + np.trace(cov_b) - 2 * roots.sum())


def fid(a: Floats, b: Floats, groups: npt.NDArray[np.int64]) -> tuple[float, list[float]]:
    """FID of two sets of features, n x d each, and FID without each group of rows.

    Row i of both is of the same sample and in group `groups[i]`. The second is empty where fewer
    than the two rows that a covariance needs would be left.
    """
    whole, *parts = [
        distance(*of_a, *of_b)
        for of_a, of_b in zip(_moments(a, groups), _moments(b, groups), strict=True)
    ]
    return whole, parts


def _moments(x: Floats, groups: npt.NDArray[np.int64]) -> Iterator[tuple[Floats, Floats]]:
    """Mean and covariance of all rows, then of the rows without each group.

    One pass over the features: what a group contributes is subtracted from the sums of all.
    """
    shift = x.mean(axis=0, dtype=np.float64)  # sums of squares far from 0 would lose digits
    total, scatter = np.zeros_like(shift), np.zeros((x.shape[1], x.shape[1]))
    numbers = np.unique(groups)
    for group in numbers:
        part = x[groups == group] - shift
        total += part.sum(axis=0)
        scatter += part.T @ part
    yield _gaussian(len(x), total, scatter, shift)
    sizes = [int((groups == group).sum()) for group in numbers]
    for group in numbers if len(x) - max(sizes) > 1 else ():
        part = x[groups == group] - shift
        rest = len(x) - len(part)
        yield _gaussian(rest, total - part.sum(axis=0), scatter - part.T @ part, shift)


def _gaussian(n: int, total: Floats, scatter: Floats, shift: Floats) -> tuple[Floats, Floats]:
    mean = total / n
    return mean + shift, (scatter - n * np.outer(mean, mean)) / (n - 1)
