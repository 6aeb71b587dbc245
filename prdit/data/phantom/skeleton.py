"""The bones of the phantom: spine, ribs, sternum, clavicles and scapulae."""

from __future__ import annotations

import numpy as np

from prdit.data.phantom.anatomy import (
    CAGE_EXPONENT,
    LEFT,
    RIGHT,
    Anatomy,
    apex_shift,
    cage_half_axes,
    spine_centre,
)
from prdit.data.phantom.shapes import FAR_MM, Canvas, superquadric, tubes

_CORTEX, _MARROW = 620.0, 190.0
_COARSE_VOXEL_MM = 3.2
_VERTEBRA_PITCH_MM = 23.0
_LOWEST_VERTEBRA_MM = -190.0


def paint_skeleton(canvas: Canvas, anatomy: Anatomy) -> None:
    """All bones of the thorax, the spine first."""
    _paint_spine(canvas, anatomy)
    _paint_ribs(canvas, anatomy)
    _paint_sternum(canvas, anatomy)
    _paint_shoulder_girdle(canvas, anatomy)


def _vertebra_heights() -> np.ndarray:
    """z of the vertebral centres."""
    return np.arange(_LOWEST_VERTEBRA_MM, 190.0, _VERTEBRA_PITCH_MM)


def _vertebra_distance(z: np.ndarray) -> np.ndarray:
    """Distance along z to the nearest vertebral body; positive within the discs."""
    phase = (z - _LOWEST_VERTEBRA_MM + _VERTEBRA_PITCH_MM / 2) % _VERTEBRA_PITCH_MM
    return np.abs(phase - _VERTEBRA_PITCH_MM / 2) - 9.0


def _paint_spine(canvas: Canvas, anatomy: Anatomy) -> None:
    middle = anatomy.cage_depth - 30.0
    region = canvas.region((-FAR_MM, middle - 90.0, -20.0), (FAR_MM, middle + 40.0, 20.0))
    z, y, x = canvas.axes(region)
    back = y - spine_centre(anatomy, z)
    column = superquadric((back, 15.0, 2.4), (x, 18.5, 2.4))
    arch = np.abs(np.hypot(back - 22.0, x) - 11.0) - 3.0
    bone = _vertebra_distance(z)
    canvas.paint(region, column, 80.0)
    canvas.paint(region, np.maximum(column, bone), 430.0)
    canvas.paint(region, np.maximum(column, bone) + 2.6, _MARROW)
    canvas.paint(region, np.maximum(arch, bone - 1.0), 450.0)
    canvas.paint(region, np.hypot(back - 22.0, x) - 8.0, 30.0)
    _paint_vertebral_processes(canvas, anatomy)


def _paint_vertebral_processes(canvas: Canvas, anatomy: Anatomy) -> None:
    spikes = []
    for z in _vertebra_heights():
        y = spine_centre(anatomy, z)
        spikes.append(tubes(np.array([(z, y + 32, 0), (z - 14, y + 52, 0)]), [4.0, 3.0]))
        for side in (RIGHT, LEFT):
            tip = (z + 2, y + 32, side * 34.0)
            spikes.append(tubes(np.array([(z, y + 22, side * 12.0), tip]), 4.0))
    canvas.paint_tubes(np.concatenate(spikes), 420.0)


def _paint_ribs(canvas: Canvas, anatomy: Anatomy) -> None:
    curves = [_rib(anatomy, n, side) for n in range(11) for side in (RIGHT, LEFT)]
    _paint_long_bones(canvas, curves, radius=4.4)


def _rib(anatomy: Anatomy, number: int, side: int) -> np.ndarray:
    """Points [16, 3] along one of eleven ribs, from the spine round to the front, falling."""
    full = [1.9, 2.3, 2.45, 2.5, 2.5, 2.5, 2.45, 2.4, 2.3, 2.0, 1.6][number]
    angle = np.linspace(0.25, full, 16)
    fall = 22.0 + 7.0 * min(number, 6)
    head = anatomy.apex + 2.0 - 21.0 * number
    z = head - fall * (1.0 - np.cos(angle)) / 2.0
    depth, width = cage_half_axes(anatomy, z, gap=7.0)
    squareness = 2.0 / CAGE_EXPONENT
    y = np.sign(np.cos(angle)) * depth * np.abs(np.cos(angle)) ** squareness
    x = side * width * np.sin(angle) ** squareness
    return np.stack([z, y + apex_shift(anatomy, z), x], axis=1)


def _paint_long_bones(canvas: Canvas, curves: list[np.ndarray], radius: float) -> None:
    fine = canvas.voxel_mm < _COARSE_VOXEL_MM
    # A coarse voxel cannot hold cortex and marrow apart: it gets their mixture.
    outer = _CORTEX if fine else 0.5 * (_CORTEX + _MARROW)
    canvas.paint_tubes(np.concatenate([tubes(c, radius) for c in curves]), outer)
    if fine:
        canvas.paint_tubes(np.concatenate([tubes(c, radius - 1.9) for c in curves]), _MARROW)


def _paint_sternum(canvas: Canvas, anatomy: Anatomy) -> None:
    region = canvas.region((-70.0, -anatomy.cage_depth - 20.0, -22.0), (66.0, 0.0, 22.0))
    z, y, x = canvas.axes(region)
    depth, _ = cage_half_axes(anatomy, z, gap=9.0)
    front = y - apex_shift(anatomy, z) + depth
    # The manubrium is broader than the body below it.
    width = 15.0 + 5.0 / (1.0 + np.exp((35.0 - z) / 5.0))
    bone = np.maximum(superquadric((front, 6.0, 2.0), (x, width, 2.0)), np.abs(z) - 64.0)
    canvas.paint(region, bone, 380.0)
    canvas.paint(region, bone + 2.2, _MARROW)


def _paint_shoulder_girdle(canvas: Canvas, anatomy: Anatomy) -> None:
    """Clavicles and scapulae."""
    top, collar = anatomy.apex, -0.6 * anatomy.cage_depth
    curves = []
    for side in (RIGHT, LEFT):
        clavicle = [(72.0, collar, 22.0), (top + 2, collar + 8, 60.0), (top + 22, 0.0, 112.0)]
        curves.append(np.array(clavicle) * [1, 1, side])
        out, behind = anatomy.cage_width + 6.0, anatomy.cage_depth + 13.0
        for start, end in (((105, 35, out), (5, behind, 84)), ((100, 68, 66), (5, behind, 84))):
            curves.append(np.array([start, end], float) * [1, 1, side])
    _paint_long_bones(canvas, curves, radius=4.6)
