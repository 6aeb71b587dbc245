"""A CT volume in Hounsfield units, its geometry, and its NIfTI file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Volume:
    """Hounsfield units on a regular axial grid, in the DICOM patient system (LPS).

    Axes run with the patient: z from feet to head, y from front to back, x from the patient's
    right to left.
    """

    hu: np.ndarray
    """int16, shape [D, H, W] = [z, y, x]."""
    spacing_mm: tuple[float, float, float]
    """Voxel size (z, y, x) in mm."""
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Centre of voxel [0, 0, 0] as (z, y, x) in mm, patient coordinates."""
