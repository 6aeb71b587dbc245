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
    """sqrt(max(MMD^2, 0)) with the biased statistic, the paper's "MMD".

    The kernel is exp(-gamma |u - v|^2), gamma = 1 / (2 median) over all n^2 real pairs, the zero
    diagonal included and the lower median taken (released code).

    Args:
        real, generated: features [n, d] and [m, d].
    """
    rr = squared_distances(real, real)
    np.fill_diagonal(rr, 0.0)
    gg = squared_distances(generated, generated)
    np.fill_diagonal(gg, 0.0)
    rg = squared_distances(real, generated)
    gamma = 1 / (2 * lower_median(rr))
    squared = sum(s * np.exp(-gamma * d).mean() for s, d in ((1, rr), (1, gg), (-2, rg)))
    return float(np.sqrt(max(squared, 0.0)))


def lower_median(values: np.ndarray) -> float:
    """The middle value, or the lower of the two middle ones."""
    flat = values.ravel()
    middle = (flat.size - 1) // 2
    return float(np.partition(flat, middle)[middle])
