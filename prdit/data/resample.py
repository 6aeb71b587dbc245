"""Any scan onto a cube of even voxels along the patient's axes: crop and pad in one step."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from prdit.data.scan import Scan, clamp_hu
from prdit.data.volume import AIR_HU, Volume

_FINE = 0.7
"""Below this ratio of source to target spacing, linear interpolation would skip voxels (alias)."""
_REACH = 3.0
"""The Gaussian is cut off at this many standard deviations."""


def to_cube(scan: Scan, size: int, spacing_mm: float) -> Volume:
    """Resample linearly to size^3 voxels of spacing_mm, centred on the middle of the scan.

    What lies outside the scan becomes air (-1000 HU). Axes sampled much more finely than the
    target are smoothed first, with a standard deviation of half the target spacing.
    """
    origin_xyz = scan.cube_origin(size, spacing_mm)
    source = _smoothed(_cropped(scan, origin_xyz, size, spacing_mm), spacing_mm)
    resample = sitk.ResampleImageFilter()
    resample.SetSize([size] * 3)
    resample.SetOutputSpacing([spacing_mm] * 3)
    resample.SetOutputOrigin(origin_xyz.tolist())
    resample.SetInterpolator(sitk.sitkLinear)
    resample.SetDefaultPixelValue(AIR_HU)
    resample.SetOutputPixelType(sitk.sitkFloat32)  # as int16, SimpleITK would cut off, not round
    cube = resample.Execute(source.image())
    x, y, z = origin_xyz.tolist()
    hu = clamp_hu(sitk.GetArrayViewFromImage(cube))
    return Volume(hu=hu, spacing_mm=(spacing_mm,) * 3, origin_mm=(z, y, x))


def _cropped(scan: Scan, origin_xyz: NDArray[np.float64], size: int, spacing_mm: float) -> Scan:
    """The part of the scan that the cube can see, smoothing included: less to smooth."""
    far_xyz = origin_xyz + spacing_mm * (size - 1)
    corners = np.array(list(itertools.product(*zip(origin_xyz, far_xyz, strict=True))))
    index = scan.to_index(corners)
    margin = np.ceil(_REACH * spacing_mm / 2 / np.array(scan.spacing_xyz)) + 1
    limit = np.array(scan.hu.shape[::-1])
    start = np.clip(np.floor(index.min(axis=0) - margin), 0, limit - 1).astype(int)
    stop = np.clip(np.ceil(index.max(axis=0) + margin) + 1, start + 1, limit).astype(int)
    part = tuple(slice(a, b) for a, b in zip(start[::-1], stop[::-1], strict=True))
    return replace(scan, hu=scan.hu[part], origin_xyz=tuple(scan.to_patient(start).tolist()))


def _smoothed(scan: Scan, spacing_mm: float) -> Scan:
    """The scan, smoothed along the axes that are too fine for the target."""
    spacing_zyx = scan.spacing_xyz[::-1]
    fine = [axis for axis in range(3) if spacing_zyx[axis] < _FINE * spacing_mm]
    if not fine:
        return scan
    hu = scan.hu.astype(np.float32)
    for axis in fine:
        sigma = 0.5 * spacing_mm / spacing_zyx[axis]
        gaussian_filter1d(hu, sigma, axis, output=hu, mode="nearest", truncate=_REACH)
    return replace(scan, hu=clamp_hu(hu))
