"""A scan in, a cube of HU and a row of facts out; whatever happens, the row is there."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from prdit.config.data import Array, Grid
from prdit.data.anatomy import body_share, lung_mask, lung_ml
from prdit.data.arrays import read_array
from prdit.data.dicom import read_series
from prdit.data.quality import Excluded, Facts, QualityRow, voxels_sha256, write_rows
from prdit.data.released import as_released
from prdit.data.resample import to_cube
from prdit.data.scan import Scan, check_hu, read_image
from prdit.data.sources.verified import RawScan, check_unchanged, read_verified
from prdit.data.volume import Volume, write_nifti
from prdit.errors import UserError
from prdit.recipes import PreprocessRecipe

_COARSE_MM = 3.0
"""Anatomy is measured on a subgrid of about this spacing: fine enough for lungs, and fast."""
_NAME = re.compile(r"\w[\w.-]*")
"""Ids become names of files; one from a header may hold anything."""


def preprocess_series(
    source: Path, grid: Grid, series_uid: str | None = None, array: Array | None = None
) -> tuple[Volume | None, QualityRow]:
    """Read a DICOM folder, an image file or a bare array and resample it to a cube.

    Args:
        array: what an .npz file does not say of itself.

    Returns:
        The volume and its row; no volume if the row says excluded.

    Raises:
        UserError: the source itself is wrong (missing, empty, or an unclear choice of series).
    """
    known = QualityRow()
    try:
        scan = _read(source, series_uid, array)
        known = scan.quality
        check_hu(scan.hu)
        lung_xyz = _lung_points(scan)
        scan = _aimed(scan, lung_xyz, grid)
        volume = (as_released if grid.method == "released" else to_cube)(
            scan, grid.size, grid.spacing_mm
        )
    except Excluded as error:
        return None, replace(error.quality or known, status="excluded", reason=error.reason)
    row = replace(
        scan.quality,
        status="fixed" if scan.flags else "ok",
        flags="; ".join(scan.flags),
        lung_kept=_lung_kept(scan, lung_xyz, grid),
        pad_fraction=_pad_fraction(scan, grid.size, grid.spacing_mm),
        **_output_facts(volume),
    )
    return volume, row


def _read(source: Path, series_uid: str | None, array: Array | None) -> Scan:
    if source.is_dir():
        return read_series(source, series_uid)
    return read_image(source) if array is None else read_array(source, array)


def run(recipe: PreprocessRecipe, *, verified: Path, quality: Path) -> None:
    """Preprocess the scans of one shard one by one, and write their rows last.

    Args:
        verified: list of the shard's scans.
        quality: CSV of a row per scan; the volumes lie beside it as <scan id>.nii.gz.

    Raises:
        UserError: a scan has changed since it was verified.
    """
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # jobs run side by side, one per core
    rows = []
    for scan, content in read_verified(verified):
        check_unchanged(scan, content)
        volume, row = preprocess_scan(scan, recipe.grid, recipe.array)
        if volume is not None:
            write_nifti(quality.parent / f"{row.series_uid}.nii.gz", volume)
        rows.append(row)
    usable = {f"{row.series_uid}.nii.gz" for row in rows if row.status != "excluded"}
    for path in quality.parent.glob("*.nii.gz"):
        if path.name not in usable:
            path.unlink()  # of a scan that is no longer there
    write_rows(quality, rows)


def preprocess_scan(
    scan: RawScan, grid: Grid, array: Array | None = None
) -> tuple[Volume | None, QualityRow]:
    """A scan's volume, if it can be used, and its row, in any case."""
    try:
        if not _NAME.fullmatch(scan.scan_id):
            raise UserError("its id holds characters that the name of a file should not")
        volume, row = preprocess_series(scan.path, grid, scan.scan_id, array)
    except UserError as error:  # one hopeless folder must not stop the others
        volume, row = None, QualityRow(status="excluded", reason=str(error))
    patient = scan.patient_id or row.patient_id or row.study_uid or scan.scan_id
    return volume, replace(
        row, series_uid=scan.scan_id, patient_id=patient, path=scan.path.as_posix()
    )


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


def _lung_points(scan: Scan) -> NDArray[np.float64]:
    """[n, 3], places in the scan's lungs in patient coordinates (x, y, z), on a coarse grid."""
    lung = lung_mask(*_coarse(scan.hu, scan.spacing_xyz[::-1]))
    return scan.to_patient(np.argwhere(lung)[:, ::-1] * _strides(scan.spacing_xyz))


def _aimed(scan: Scan, lung_xyz: NDArray[np.float64], grid: Grid) -> Scan:
    """The scan with the middle that its cube is cut around."""
    if grid.crop == "center":
        return scan
    if len(lung_xyz) == 0:
        flag = "no lung found: the cube is cut around the middle of the scan"
        return replace(scan, flags=(*scan.flags, flag))
    box = np.stack([lung_xyz.min(axis=0), lung_xyz.max(axis=0)])
    return replace(scan, middle_xyz=tuple(box.mean(axis=0).tolist()))


def _lung_kept(scan: Scan, lung_xyz: NDArray[np.float64], grid: Grid) -> float | None:
    """Share of the lung voxels of the whole scan inside the cube; None if there is no lung."""
    if len(lung_xyz) == 0:
        return None
    half = grid.size * grid.spacing_mm / 2
    return float((np.abs(lung_xyz - scan.centre_xyz) <= half).all(axis=1).mean())


def _pad_fraction(scan: Scan, size: int, spacing_mm: float) -> float:
    """Share of the cube outside the scan, counted on a subgrid of at most 64^3 points."""
    stride = max(1, size // 64)
    steps = np.arange(0, size, stride) + (stride - 1) / 2
    grid_xyz = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    index = scan.to_index(scan.cube_origin(size, spacing_mm) + spacing_mm * grid_xyz)
    inside = (index >= -0.5) & (index <= np.array(scan.hu.shape[::-1]) - 0.5)
    return 1 - float(inside.all(axis=1).mean())
