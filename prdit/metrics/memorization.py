"""Does a generator give back what it was trained on? Nearest training volumes of its samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from prdit.errors import UserError
from prdit.metrics.fingerprint import mirrored
from prdit.metrics.mmd import squared_distances

FALSE_ALARMS = 0.05
"""Share of unseen real volumes that pass for copies, by choice of the threshold; about."""
CLOSEST = 8
"""Pairs that are told by name."""


class Copies(NamedTuple):
    """What a search for copies found."""

    distance: np.ndarray
    """float64 [m], from each volume to the nearest training one."""
    nearest: np.ndarray
    """int [m], which that is."""
    way: np.ndarray
    """int [m], how it was flipped for that: not at all, along z, y, or x."""
    threshold: float
    """A distance from a held-out real volume to the nearest training one, among the smallest."""
    by_chance: float
    """Share of unseen real volumes at most that far away, in the mean: k / (n + 1) for the k-th
    smallest of n distances, whatever their distribution."""

    @property
    def share(self) -> float:
        """Of the volumes that lie no farther than the threshold."""
        return float((self.distance <= self.threshold).mean())


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
    unseen = np.sort(nearest(train, held_out)[0])
    rank = max(1, int(FALSE_ALARMS * (len(unseen) + 1)))
    threshold, by_chance = float(unseen[rank - 1]), rank / (len(unseen) + 1)
    return Copies(*nearest(train, generated), threshold, by_chance)


def nearest(train: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance [m] of each of the others to the nearest of `train`; which [m]; how flipped [m]."""
    flat = train.reshape(len(train), -1)
    ways = np.stack(
        [squared_distances(one.reshape(len(one), -1), flat) for one in mirrored(others)]
    )
    best = ways.min(axis=0)
    which = best.argmin(axis=1)
    every = np.arange(len(which))
    return np.sqrt(best[every, which]), which, ways[:, every, which].argmin(axis=0)
