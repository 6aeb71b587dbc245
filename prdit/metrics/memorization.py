"""Does a generator give back what it was trained on? Nearest training volumes of its samples.

Features of a network that averages over space change with a shift of some millimetres more than
from one patient to another, so copies are looked for by a fingerprint of their own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import fft

from prdit.errors import UserError
from prdit.metrics.mmd import squared_distances

LOWEST = 4
"""Spatial frequencies per axis and direction: details of a quarter of the volume's edge."""
FALSE_ALARMS = 0.05
"""Share of held-out real volumes that pass for copies, by choice of the threshold."""
CLOSEST = 8
"""Pairs that are told by name."""


def fingerprint(x: np.ndarray) -> np.ndarray:
    """Magnitudes of the lowest spatial frequencies of a volume [S, S, S]: float32 [7, 7, 4].

    A shift turns phases alone, noise lies at higher frequencies, and a flip only swaps entries.
    """
    s = x.shape[0]
    reach = min(LOWEST, s // 2)
    both = np.r_[0:reach, 1 - reach : 0]
    spectrum = fft.rfftn(x.astype(np.float64))[np.ix_(both, both, np.arange(reach))]
    return (np.abs(spectrum) / s**3).astype(np.float32)


def mirrored(prints: np.ndarray) -> list[np.ndarray]:
    """Fingerprints [n, 7, 7, 4] of volumes as they are and flipped along z, y, or x.

    Flips along two or three axes have one of these fingerprints, too: |F(-k)| = |F(k)|.
    """
    back = (-np.arange(prints.shape[1])) % prints.shape[1]
    along_z, along_y = prints[:, back], prints[:, :, back]
    return [prints, along_z, along_y, along_z[:, :, back]]


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
