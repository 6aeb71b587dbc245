"""Density and coverage (Naeem et al., 2020): are samples where real volumes are, and everywhere?"""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import NearestNeighbors

from prdit.metrics.mmd import squared_distances

NEIGHBOURS = 5


def density(real: np.ndarray, generated: np.ndarray) -> float:
    """How many real volumes a sample lies near to, of as many as would be usual; 1 is usual.

    Near: nearer than the real one's own 5th neighbour among the real ones. Features [n, d], [m, d].
    """
    return float(_near(real, generated).sum() / (_neighbours(real) * len(generated)))


def coverage(real: np.ndarray, generated: np.ndarray) -> float:
    """Share of the real volumes [n, d] that have a sample [m, d] near them."""
    return float(_near(real, generated).any(axis=1).mean())


def _near(real: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """bool [n, m]."""
    searched = NearestNeighbors(n_neighbors=_neighbours(real) + 1).fit(real.astype(np.float64))
    radius = searched.kneighbors(real)[0][:, -1]
    return squared_distances(real, generated) < radius[:, None] ** 2


def _neighbours(real: np.ndarray) -> int:
    return min(NEIGHBOURS, len(real) - 1)
