"""A collection of thorax phantoms where a real one would stand: as DICOM, or as RAD-ChestCT is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prdit.data.phantom.dicom_writer import write_series
from prdit.data.phantom.thorax import acquisition, thorax
from prdit.data.sources.patients import METADATA, PATIENT, SCAN
from prdit.data.sources.verified import RawScan, write_verified
from prdit.files import atomic, write_csv
from prdit.recipes import PhantomRecipe

AIR_AND_BONE_HU = (-1000, 1000)
"""What RAD-ChestCT's files are clipped to."""
_FIELD_MM = 370.0
"""About what the scans of RAD-ChestCT measure along each axis."""


def run(recipe: PhantomRecipe, *, verified: Path) -> None:
    """Write subjects first .. first + count - 1 beside the file `verified`."""
    write = _as_rad_chestct if recipe.source.format == "npz" else _as_dicom
    write_verified(verified, write(recipe, verified.parent))


def _as_dicom(recipe: PhantomRecipe, folder: Path) -> list[RawScan]:
    """A folder of DICOM files for each subject."""
    scans = []
    for index in _subjects(recipe):
        spacing, shape = acquisition(recipe.source.seed, index, recipe.source.voxel_mm)
        volume = thorax(recipe.source.seed, index, spacing, shape)
        patient = f"PHANTOM-{recipe.source.seed}-{index:04d}"
        scans.append(
            RawScan(write_series(folder / patient, volume, patient_id=patient), folder / patient)
        )
    return scans


def _as_rad_chestct(recipe: PhantomRecipe, folder: Path) -> list[RawScan]:
    """An npz for each scan, from head to feet, and a CSV that tells whose: two per patient."""
    scans = []
    spacing = recipe.source.voxel_mm
    shape = (round(_FIELD_MM / spacing),) * 3
    for index in _subjects(recipe):
        name = f"trn{index:05d}"
        path = folder / f"{name}.npz"
        hu = thorax(recipe.source.seed, index, (spacing,) * 3, shape).hu
        with atomic(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, ct=np.clip(hu[::-1], *AIR_AND_BONE_HU))
        scans.append(RawScan(name, path, f"MRN{index // 2:05d}"))
    write_csv(folder / METADATA, (SCAN, PATIENT), ((s.path.name, s.patient_id) for s in scans))
    return scans


def _subjects(recipe: PhantomRecipe) -> range:
    return range(recipe.first, recipe.first + recipe.count)
