"""Crude anatomy from HU alone: is there one body, and how much lung? For scans and for samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_TISSUE_HU = -400
_AIRY_HU = -320
_LUNG_CORE_HU = -600
"""At 16 mm a chest wall blurs to some -400 HU: only deeper air tells lung from the room."""
_LEAST_ML = 100
"""A lung holds litres. Smaller pockets of air are bowel gas, or the holes of mere noise."""
_LEAST_TISSUE = 0.02
"""A slice with a smaller share of tissue is padding: it would join lung and room."""
_LEAST_DEPTH = 0.3
"""Volume behind the border per area of border, in widths of the slice. A room has at most 0.25."""
_MOST_OFFSET = 0.25
"""Distance of cut lungs from the middle of the body, front to back, in widths of the slice."""


def body_mask(hu: NDArray[np.number]) -> NDArray[np.bool_]:
    """Voxels denser than air and lung: tissue, and the table under it. [D, H, W]."""
    return hu > _TISSUE_HU


def body_share(hu: NDArray[np.number]) -> float:
    """Share of all tissue voxels in the largest 6-connected piece; 0 without tissue.

    Near 1 in any real chest. Floating fragments and noise pull it down.
    """
    sizes = np.bincount(ndimage.label(body_mask(hu))[0].ravel())[1:]
    return float(sizes.max() / sizes.sum()) if sizes.size else 0.0


def lung_mask(hu: NDArray[np.number], spacing_mm: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Air inside the body, [D, H, W], in volumes of 0.7 to 16 mm voxels, cropped or padded.

    A crop to 256 mm cuts the lungs of large patients, so air on the border of the slices is not
    always the room: the room is shallow behind much border, and the inside of a table lies far
    behind the body. Where slices begin and end does not count. Airways are included.

    Args:
        spacing_mm: voxel size (z, y, x).
    """
    body = body_mask(hu)
    scanned = (body.mean(axis=(1, 2)) > _LEAST_TISSUE)[:, None, None]
    core = (hu < _LUNG_CORE_HU) & scanned
    pieces, count = ndimage.label(core)
    border = _border_voxels(pieces, count)
    voxels = np.bincount(pieces.ravel(), minlength=count + 1)
    least = _LEAST_ML * 1000 / np.prod(spacing_mm)
    inside = (voxels >= _LEAST_DEPTH * hu.shape[2] * border) & (voxels >= least)
    inside[0] = False
    cut = np.flatnonzero(inside & (border > 0))
    middle = _middle_y(body) if len(cut) else 0.0  # where there is air alone, there is none
    for piece in cut:
        offset = abs(_middle_y(pieces == piece) - middle)
        inside[piece] = offset <= _MOST_OFFSET * hu.shape[2]
    lung = inside[pieces]
    rim = ndimage.binary_dilation(lung) & (hu < _AIRY_HU) & ~core & scanned
    return lung | rim


def lung_ml(hu: NDArray[np.number], spacing_mm: tuple[float, float, float]) -> float:
    """Volume of `lung_mask` in millilitres; spacing is (z, y, x)."""
    return float(np.count_nonzero(lung_mask(hu, spacing_mm)) * np.prod(spacing_mm) / 1000)


def _border_voxels(pieces: NDArray[np.integer], count: int) -> NDArray[np.intp]:
    """How many voxels each piece has on the four sides of the slices."""
    sides = (pieces[:, 0], pieces[:, -1], pieces[:, :, 0], pieces[:, :, -1])
    return np.bincount(np.concatenate([s.ravel() for s in sides]), minlength=count + 1)


def _middle_y(mask: NDArray[np.bool_]) -> float:
    """Mean index along y."""
    share = mask.sum(axis=(0, 2)) / np.count_nonzero(mask)
    return float(share @ np.arange(mask.shape[1]))
