"""Maximum mean discrepancy with an RBF kernel (Gretton et al., 2012), as released."""

from __future__ import annotations

import numpy as np


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """|x_i - y_j|^2 of [n, d] and [m, d]: float64 [n, m], never negative."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    centre = y.mean(0)  # cancellation is worst for features far from zero
    x, y = x - centre, y - centre
    d = (x**2).sum(1)[:, None] + (y**2).sum(1)[None, :] - 2 * x @ y.T
    return np.maximum(d, 0)


def mmd(real: np.ndarray, generated: np.ndarray) -> float:
    """sqrt(max(MMD^2, 0)), the paper's "MMD", for features [n, d] and [m, d] (released code)."""
    return float(np.sqrt(max(mmd_squared(real, generated, median_gamma(real)), 0.0)))


def mmd_squared(real: np.ndarray, generated: np.ndarray, gamma: float) -> float:
    """MMD^2 of features [n, d] and [m, d]: the biased statistic, diagonals included.

    Args:
        gamma: of the kernel exp(-gamma |u - v|^2).
    """
    pairs = ((1, _within(real)), (1, _within(generated)), (-2, squared_distances(real, generated)))
    return float(sum(sign * np.exp(-gamma * d).mean() for sign, d in pairs))


def median_gamma(real: np.ndarray) -> float:
    """1 / (2 median) of |u - v|^2 over all n^2 pairs of real features [n, d].

    The zero diagonal is included and the lower median taken (released code).
    """
    return 1 / (2 * lower_median(_within(real)))


def _within(x: np.ndarray) -> np.ndarray:
    d = squared_distances(x, x)
    np.fill_diagonal(d, 0.0)
    return d


def lower_median(values: np.ndarray) -> float:
    """The middle value, or the lower of the two middle ones."""
    flat = values.ravel()
    middle = (flat.size - 1) // 2
    return float(np.partition(flat, middle)[middle])
