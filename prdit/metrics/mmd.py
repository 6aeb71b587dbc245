"""Maximum mean discrepancies: the paper's, an unbiased one, and KID."""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student
from sklearn.metrics.pairwise import polynomial_kernel

from prdit.errors import UserError

BLOCKS = 10
"""Disjoint parts of both sets, from whose spread the interval of KID is taken."""


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """|x_i - y_j|^2 of [n, d] and [m, d]: float64 [n, m], never negative."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    centre = y.mean(0)  # cancellation is worst for features far from zero
    x, y = x - centre, y - centre
    d = (x**2).sum(1)[:, None] + (y**2).sum(1)[None, :] - 2 * x @ y.T
    return np.maximum(d, 0)


def mmd(real: np.ndarray, generated: np.ndarray, gamma: float | None = None) -> float:
    """sqrt(max(MMD^2, 0)), the paper's "MMD", for features [n, d] and [m, d] (released code).

    The statistic is biased: two sets of one distribution do not score 0 but some 1/sqrt(n).

    Args:
        gamma: of the kernel; by default from the median distance of the real features.
    """
    gamma = median_gamma(real) if gamma is None else gamma
    return float(np.sqrt(max(mmd_squared(real, generated, gamma), 0.0)))


def mmd_squared(real: np.ndarray, generated: np.ndarray, gamma: float) -> float:
    """MMD^2 of features [n, d] and [m, d]: the biased statistic, diagonals included.

    Args:
        gamma: of the kernel exp(-gamma |u - v|^2).
    """
    pairs = ((1, _within(real)), (1, _within(generated)), (-2, squared_distances(real, generated)))
    return float(sum(sign * np.exp(-gamma * d).mean() for sign, d in pairs))


def mmd_unbiased(real: np.ndarray, generated: np.ndarray) -> float:
    """MMD^2 without the diagonals (Gretton et al., 2012, Eq. 3): 0 on average for equal ones.

    Kernel and bandwidth are those of `mmd`.
    """
    gamma = median_gamma(real)
    kernels = (
        np.exp(-gamma * d)
        for d in (_within(real), _within(generated), squared_distances(real, generated))
    )
    return unbiased(*kernels)


def kid(real: np.ndarray, generated: np.ndarray) -> float:
    """Kernel inception distance (Binkowski et al., 2018): unbiased MMD^2 of (u.v / d + 1)^3."""
    real, generated = real.astype(np.float64), generated.astype(np.float64)
    return unbiased(
        *(polynomial_kernel(a, b) for a, b in ((real, real), (generated,) * 2, (real, generated)))
    )


def kid_interval(real: np.ndarray, generated: np.ndarray) -> tuple[float, float]:
    """Interval of 95 % of `kid`: from its values on disjoint blocks of both sets, by Student's t.

    Blocks take every n-th volume, so that neither is the collection's beginning.
    """
    count = max(2, min(BLOCKS, len(real) // 4, len(generated) // 4))
    found = [kid(real[i::count], generated[i::count]) for i in range(count)]
    half = student.ppf(0.975, count - 1) * np.std(found, ddof=1) / np.sqrt(count)
    value = kid(real, generated)
    return value - float(half), value + float(half)


def unbiased(within_x: np.ndarray, within_y: np.ndarray, across: np.ndarray) -> float:
    """MMD^2 of kernel matrices [n, n], [m, m] and [n, m], the diagonals left out."""
    means = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (within_x, within_y)]
    return float(sum(means) - 2 * across.mean())


def median_gamma(real: np.ndarray) -> float:
    """1 / (2 median) of |u - v|^2 over all n^2 pairs of real features [n, d].

    The zero diagonal is included and the lower median taken (released code).

    Raises:
        UserError: the median is 0.
    """
    median = lower_median(_within(real))
    if median == 0:
        raise UserError(
            f"half of the pairs of {len(real)} real features are equal: too few volumes, or copies"
        )
    return 1 / (2 * median)


def _within(x: np.ndarray) -> np.ndarray:
    d = squared_distances(x, x)
    np.fill_diagonal(d, 0.0)
    return d


def lower_median(values: np.ndarray) -> float:
    """The middle value, or the lower of the two middle ones."""
    flat = values.ravel()
    middle = (flat.size - 1) // 2
    return float(np.partition(flat, middle)[middle])
