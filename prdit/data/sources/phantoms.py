"""A collection of thorax phantoms as DICOM series, standing where a real collection would."""

from __future__ import annotations

from pathlib import Path

from prdit.data.phantom.dicom_writer import write_series
from prdit.data.phantom.thorax import acquisition, thorax
from prdit.data.sources.verified import write_verified
from prdit.recipes import PhantomRecipe


def run(recipe: PhantomRecipe, *, verified: Path) -> None:
    """Write subjects first .. first + count - 1, a folder each beside the file `verified`."""
    series = {}
    for index in range(recipe.first, recipe.first + recipe.count):
        spacing, shape = acquisition(recipe.source.seed, index, recipe.source.voxel_mm)
        volume = thorax(recipe.source.seed, index, spacing, shape)
        patient = f"PHANTOM-{recipe.source.seed}-{index:04d}"
        series[write_series(verified.parent / patient, volume, patient_id=patient)] = patient
    write_verified(verified, series)
