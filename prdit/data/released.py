"""The released code's preprocessing, for runs that follow it: per-volume windows, no padding.

It differs from this package's own in three ways: a scan smaller than the cube is dropped, axes stay
as stored, and the upper end of the window is a quantile of each volume, so that a value in [0, 1]
means another HU in every volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prdit.data.quality import Excluded

Real = TypeVar("Real", bound=np.floating)


def cubic_crop(
    hu: NDArray[np.number], spacing_zyx: Sequence[float], size: int, spacing_mm: float
) -> NDArray[np.float64]:
    """LIDC-IDRI: cubic splines to voxels of `spacing_mm`, then the middle size^3 (released code).

    Args:
        hu: [D, H, W].
        spacing_zyx: mm per voxel along D, H, W.

    Raises:
        Excluded: less than `size` along an axis.
    """
    return centre_crop(resample(hu, spacing_zyx, spacing_mm), size)


def resample(
    hu: NDArray[np.number], spacing_zyx: Sequence[float], spacing_mm: float
) -> NDArray[np.float64]:
    """Cubic splines through [D, H, W] to cubic voxels; edges continue outwards.

    Voxel centres at both ends stay where they are, so the spacing is `spacing_mm` only nearly.
    """
    factors = [float(spacing) / spacing_mm for spacing in spacing_zyx]
    even: NDArray[np.float64] = ndimage.zoom(
        hu.astype(np.float64), factors, order=3, mode="nearest"
    )
    return even


def centre_crop(x: NDArray[Real], size: int) -> NDArray[Real]:
    """The middle size^3 of [D, H, W]. Raises Excluded where there is less."""
    if min(x.shape) < size:
        raise Excluded(f"{x.shape} voxels, fewer than {size} along an axis")
    return x[tuple(slice((n - size) // 2, (n - size) // 2 + size) for n in x.shape)]
