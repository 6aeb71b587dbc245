"""Does a generator give back what it was trained on? Nearest training volumes of its samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from prdit.errors import UserError
from prdit.metrics.fingerprint import mirrored
from prdit.metrics.mmd import squared_distances

FALSE_ALARMS = 0.05
"""Share of held-out real volumes that pass for copies, by choice of the threshold."""
CLOSEST = 8
"""Pairs that are told by name."""


class Copies(NamedTuple):
    """What a search for copies found."""

    distance: np.ndarray
    """float64 [m], from each volume to the nearest training one."""
    nearest: np.ndarray
    """int [m], which that is."""
    threshold: float
    """Distance below which held-out real volumes lie in 5 % of all cases."""

    @property
    def share(self) -> float:
        """Of the volumes below the threshold; 0.05 where nothing was memorized."""
        return float((self.distance < self.threshold).mean())


def copies(train: np.ndarray, held_out: np.ndarray, generated: np.ndarray) -> Copies:
    """Search for the training volumes among samples; all are fingerprints [n, 7, 7, 4].

    Raises:
        UserError: fewer than 2 training volumes or no held-out ones.
    """
    if len(train) < 2 or len(held_out) < 1:
        raise UserError(
            f"{len(train)} training and {len(held_out)} held-out volumes are too few to tell copies"
            " from neighbours; hold out more patients"
        )
    threshold = float(np.quantile(nearest(train, held_out)[0], FALSE_ALARMS))
    return Copies(*nearest(train, generated), threshold)


def nearest(train: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance [m] of each of the others, flipped or not, to the nearest of `train`; which [m]."""
    flat = train.reshape(len(train), -1)
    ways = [squared_distances(one.reshape(len(one), -1), flat) for one in mirrored(others)]
    best = np.min(ways, axis=0)
    which = best.argmin(axis=1)
    return np.sqrt(best[np.arange(len(which)), which]), which
