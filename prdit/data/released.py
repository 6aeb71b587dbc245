"""The released code's cube, for runs that follow it: cubic splines, cropped and never padded.

It differs from this package's own: a scan smaller than the cube is excluded, and so is one that is
not axial, whose axes the released code would leave as they are stored. Its window, whose upper end
is a quantile of each volume, is `volume.quantile_window`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prdit.data.quality import Excluded
from prdit.data.scan import Scan, clamp_hu
from prdit.data.volume import Volume

Real = TypeVar("Real", bound=np.floating)


def as_released(scan: Scan, size: int, spacing_mm: float) -> Volume:
    """The released code's cube: cubic splines, cropped and never padded.

    Raises:
        Excluded: smaller than the cube, or not axial (the released code would not notice).
    """
    if not scan.quality.axial:
        raise Excluded("not axial, which the released preprocessing cannot handle")
    hu = cubic_crop(scan.hu, scan.spacing_xyz[::-1], size, spacing_mm)
    x, y, z = scan.cube_origin(size, spacing_mm).tolist()
    return Volume(hu=clamp_hu(hu), spacing_mm=(spacing_mm,) * 3, origin_mm=(z, y, x))


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
