"""What of a volume a copy keeps: for finding copies of training volumes.

Features of a network that averages over space change with a shift of some millimetres more than
from one phantom to another, so copies are looked for by a fingerprint of their own.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

LOWEST = 4
"""Spatial frequencies per axis and direction: details of a quarter of the volume's edge."""


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
