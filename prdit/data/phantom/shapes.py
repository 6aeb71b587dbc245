"""Signed-distance shapes in millimetres, and the canvas that rasterises them.

A distance is negative inside a shape. Coordinates are z, y, x arrays that broadcast to [D, H, W],
so that an axis-aligned term costs one axis and not the whole grid; the same functions take lists
of points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

Region = tuple[slice, slice, slice]
Corner = tuple[float, ...] | np.ndarray
# Beyond every scan: shapes with this reach run off the field.
FAR_MM = 400.0


def superquadric(*terms: tuple[np.ndarray, np.ndarray | float, float]) -> np.ndarray:
    """Distance in mm to sum |offset / half_axis|^exponent = 1, exact to first order at the surface.

    Each term is (offset in mm, half axis in mm, exponent); offsets and half axes broadcast.
    """
    level: np.ndarray | float = -1.0
    slope_sq: np.ndarray | float = 1e-12
    for offset, half_axis, exponent in terms:
        ratio = np.abs(offset / half_axis)
        shoulder = ratio ** (exponent - 1)
        level = level + shoulder * ratio
        slope_sq = slope_sq + (shoulder * exponent / half_axis) ** 2
    return level / np.sqrt(slope_sq)


def rotated(
    zyx: tuple[np.ndarray, ...], centre_mm: np.ndarray, rotation: np.ndarray
) -> list[np.ndarray]:
    """Offsets from `centre_mm` along the three rows of `rotation`, each broadcast over `zyx`."""
    offsets = [axis - c for axis, c in zip(zyx, centre_mm, strict=True)]
    return [sum(float(w) * o for w, o in zip(row, offsets, strict=True)) for row in rotation]


def tubes(points_mm: np.ndarray, radius_mm: ArrayLike) -> np.ndarray:
    """Segments [N-1, 8] of a polyline [N, 3]: start zyx, end zyx, start and end radius, in mm."""
    radii = np.broadcast_to(radius_mm, len(points_mm))
    ends = np.stack([radii[:-1], radii[1:]], axis=1)
    return np.concatenate([points_mm[:-1], points_mm[1:], ends], axis=1)


def tube_distance(zyx: list[np.ndarray], segment: np.ndarray) -> np.ndarray:
    """Distance in mm to one tapered capsule [8]."""
    start, along = segment[:3].tolist(), (segment[3:6] - segment[:3]).tolist()
    radius, growth = float(segment[6]), float(segment[7] - segment[6])
    z, y, x = (axis - s for axis, s in zip(zyx, start, strict=True))
    length_sq = sum(a * a for a in along) + 1e-9
    projection = (z * along[0] + y * along[1]) + x * along[2]
    t = np.clip(projection / length_sq, 0.0, 1.0)
    gap_sq = ((z * z + y * y) + x * x) + t * (t * length_sq - 2.0 * projection)
    return np.sqrt(np.maximum(gap_sq, 0.0)) - (radius + growth * t)


def _cross_section_gain(radius_mm: float, voxel_mm: float) -> float:
    """True cross-section of a tube over the one its linear edge ramp would paint.

    The ramp widens a tube thinner than a voxel; this keeps its mass the same on every grid.
    """
    if radius_mm > voxel_mm / 2:
        return radius_mm**2 / (radius_mm**2 + voxel_mm**2 / 12)
    return 3 * voxel_mm * radius_mm**2 / (radius_mm + voxel_mm / 2) ** 3


class Canvas:
    """Hounsfield units on a grid centred at the origin, painted shape over shape."""

    def __init__(self, spacing_mm: tuple[float, float, float], shape: tuple[int, int, int]):
        self.hu = np.full(shape, -1000.0, np.float32)
        self.voxel_mm = float(np.prod(spacing_mm) ** (1 / 3))
        self.spacing_mm = spacing_mm
        self._axes = [
            (np.arange(n, dtype=np.float32) - (n - 1) / 2) * np.float32(step)
            for n, step in zip(shape, spacing_mm, strict=True)
        ]

    def region(self, low_mm: Corner, high_mm: Corner) -> Region:
        """Voxels that a shape between two zyx corners can touch; empty where it is off the grid."""
        bounds = []
        for axis, step, low, high in zip(self._axes, self.spacing_mm, low_mm, high_mm, strict=True):
            margin = 0.5 * self.voxel_mm - float(axis[0])
            start = max(int((low - self.voxel_mm - float(axis[0])) / step), 0)
            stop = min(int((high + margin) / step) + 1, len(axis))
            bounds.append(slice(start, max(stop, start)))
        z, y, x = bounds
        return z, y, x

    def axes(self, region: Region) -> list[np.ndarray]:
        """Voxel centres in mm, shapes [d, 1, 1], [1, h, 1] and [1, 1, w]."""
        z, y, x = (axis[part] for axis, part in zip(self._axes, region, strict=True))
        return [z[:, None, None], y[None, :, None], x[None, None, :]]

    def coverage(self, distance_mm: np.ndarray) -> np.ndarray:
        """Fraction of each voxel inside a shape."""
        return np.clip(0.5 - distance_mm / np.float32(self.voxel_mm), 0.0, 1.0)

    def blend(self, region: Region, coverage: np.ndarray, hu: np.ndarray | float) -> None:
        """Replace the covered fraction of each voxel by `hu`."""
        below = self.hu[region]
        below += coverage * (hu - below)

    def paint(self, region: Region, distance_mm: np.ndarray, hu: np.ndarray | float) -> None:
        self.blend(region, self.coverage(distance_mm), hu)

    def paint_ellipsoid(
        self, centre_mm: tuple[float, ...], half_axes_mm: tuple[float, ...], hu: float
    ) -> None:
        centre, half = np.asarray(centre_mm), np.asarray(half_axes_mm)
        region = self.region(centre - half, centre + half)
        offsets = [axis - float(c) for axis, c in zip(self.axes(region), centre, strict=True)]
        terms = [(o, float(h), 2.0) for o, h in zip(offsets, half, strict=True)]
        self.paint(region, superquadric(*terms), hu)

    def paint_tubes(self, segments: np.ndarray, hu: float) -> None:
        """Paint the union of capsules [N, 8], so that joints are not painted twice."""
        # Much thinner than a voxel, a tube is lost in the noise and not worth its time.
        segments = segments[segments[:, 6] > self.voxel_mm / 3]
        if not len(segments):
            return
        reach = segments[:, 6:].max(axis=1, keepdims=True)
        low = np.minimum(segments[:, :3], segments[:, 3:6]) - reach
        high = np.maximum(segments[:, :3], segments[:, 3:6]) + reach
        covered = np.zeros(self.hu.shape, np.float32)
        for segment, *corners in zip(segments, low.tolist(), high.tolist(), strict=True):
            region = self.region(*corners)
            part = covered[region]
            if part.size:
                gain = _cross_section_gain(float(segment[6]), self.voxel_mm)
                fraction = self.coverage(tube_distance(self.axes(region), segment))
                np.maximum(part, gain * fraction, out=part)
        whole = self.region(low.min(axis=0), high.max(axis=0))
        self.blend(whole, covered[whole], hu)
