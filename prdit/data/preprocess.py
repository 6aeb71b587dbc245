"""A scan in, a cube of HU and a row of facts out; whatever happens, the row is there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prdit.data.anatomy import body_share, lung_mask, lung_ml
from prdit.data.dicom import read_series
from prdit.data.quality import Excluded, Facts, QualityRow, voxels_sha256, write_rows
from prdit.data.sources.verified import read_verified
from prdit.data.resample import as_released, cube_origin, to_cube
from prdit.data.scan import Scan, read_image
from prdit.data.volume import Volume, write_nifti
from prdit.errors import UserError
from prdit.recipes import PreprocessRecipe

_COARSE_MM = 3.0
"""Anatomy is measured on a subgrid of about this spacing: fine enough for lungs, and fast."""


def preprocess_series(
    source: Path,
    size: int,
    spacing_mm: float,
    series_uid: str | None = None,
    *,
    method: str = "linear",
) -> tuple[Volume | None, QualityRow]:
    """Read a DICOM folder or an image file and resample it to a cube of size^3 voxels.

    Args:
        method: "linear", or "released" for the released code's way.

    Returns:
        The volume and its row; no volume if the row says excluded.

    Raises:
        UserError: the source itself is wrong (missing, empty, or an unclear choice of series).
    """
    known = QualityRow(series_uid=series_uid or "")
    resample = as_released if method == "released" else to_cube
    try:
        scan = read_series(source, series_uid) if source.is_dir() else read_image(source)
        known = scan.quality
        volume = resample(scan, size, spacing_mm)
    except Excluded as error:
        return None, replace(error.quality or known, status="excluded", reason=error.reason)
    row = replace(
        scan.quality,
        series_uid=scan.quality.series_uid or series_uid or "",
        status="fixed" if scan.flags else "ok",
        flags="; ".join(scan.flags),
        lung_kept=_lung_kept(scan, size, spacing_mm),
        pad_fraction=_pad_fraction(scan, size, spacing_mm),
        **_output_facts(volume),
    )
    return volume, row


def run(recipe: PreprocessRecipe, *, verified: Path, quality: Path) -> None:
    """Preprocess the series of one shard, and write their rows last.

    Args:
        verified: list of the shard's series, beside their folders.
        quality: CSV of a row per series; the volumes lie beside it.
    """
    series = read_verified(verified).items()
    size, spacing_mm, method = recipe.grid.size, recipe.grid.spacing_mm, recipe.grid.method
    rows = preprocess_shard(series, quality.parent, size, spacing_mm, method=method)
    write_rows(quality, rows)


def preprocess_shard(
    series: Iterable[tuple[str, Path]],
    out_folder: Path,
    size: int,
    spacing_mm: float,
    *,
    method: str = "linear",
) -> list[QualityRow]:
    """Preprocess (series UID, folder) pairs one by one into out_folder/<series UID>.nii.gz."""
    out_folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for series_uid, folder in series:
        try:
            volume, row = preprocess_series(folder, size, spacing_mm, series_uid, method=method)
        except UserError as error:  # one hopeless folder must not stop the others
            volume, row = None, QualityRow(series_uid, status="excluded", reason=str(error))
        if volume is not None:
            write_nifti(out_folder / f"{series_uid}.nii.gz", volume)
        rows.append(row)
    return rows


def _output_facts(volume: Volume) -> Facts:
    hu, spacing = _coarse(volume.hu, volume.spacing_mm)
    return {
        "body_share": body_share(hu),
        "lung_ml": lung_ml(hu, spacing),
        "out_min": float(volume.hu.min()),
        "out_max": float(volume.hu.max()),
        "out_mean": float(volume.hu.mean(dtype=np.float64)),
        "out_std": float(volume.hu.std(dtype=np.float64)),
        "sha256": voxels_sha256(volume.hu),
    }


def _strides(spacing_mm: tuple[float, ...]) -> tuple[int, ...]:
    return tuple(max(1, round(_COARSE_MM / spacing)) for spacing in spacing_mm)


def _coarse(
    hu: NDArray[np.int16], spacing_mm: tuple[float, float, float]
) -> tuple[NDArray[np.int16], tuple[float, float, float]]:
    """A view of every n-th voxel, and its spacing (z, y, x)."""
    a, b, c = _strides(spacing_mm)
    z, y, x = spacing_mm
    return hu[::a, ::b, ::c], (a * z, b * y, c * x)


def _lung_kept(scan: Scan, size: int, spacing_mm: float) -> float | None:
    """Share of the lung voxels of the whole scan inside the cube; None if there is no lung."""
    stride_xyz = _strides(scan.spacing_xyz)
    lung = lung_mask(*_coarse(scan.hu, scan.spacing_xyz[::-1]))
    lung_xyz = np.argwhere(lung)[:, ::-1] * stride_xyz
    if len(lung_xyz) == 0:
        return None
    from_centre = scan.to_patient(lung_xyz) - scan.centre_xyz
    return float((np.abs(from_centre) <= size * spacing_mm / 2).all(axis=1).mean())


def _pad_fraction(scan: Scan, size: int, spacing_mm: float) -> float:
    """Share of the cube outside the scan, counted on a subgrid of at most 64^3 points."""
    stride = max(1, size // 64)
    steps = np.arange(0, size, stride) + (stride - 1) / 2
    grid_xyz = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    index = scan.to_index(cube_origin(scan, size, spacing_mm) + spacing_mm * grid_xyz)
    inside = (index >= -0.5) & (index <= np.array(scan.hu.shape[::-1]) - 0.5)
    return 1 - float(inside.all(axis=1).mean())
