"""3D FID: the Frechet distance between Gaussians fitted to two sets of features."""

from __future__ import annotations

import numpy as np


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """|mu_x - mu_y|^2 + Tr(S_x + S_y - 2 (S_x S_y)^(1/2)) for features [n, d] and [m, d].

    The trace of the root is the nuclear norm of X_c Y_c^T over sqrt((n-1)(m-1)): exact also where
    n < d makes the covariances singular, and free of matrix square roots.
    """
    x, y = x.astype(np.float64), y.astype(np.float64)
    x_c, y_c = x - x.mean(0), y - y.mean(0)
    scale = np.sqrt((len(x) - 1.0) * (len(y) - 1.0))
    cross = np.linalg.norm(x_c @ y_c.T, ord="nuc") / scale
    variances = (x_c**2).sum() / (len(x) - 1) + (y_c**2).sum() / (len(y) - 1)
    means = x.mean(0) - y.mean(0)
    return float(means @ means + variances - 2 * cross)
