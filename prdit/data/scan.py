"""A CT scan as the scanner laid it: in any orientation and spacing. `to_cube` makes it a Volume."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray
from pydicom.misc import is_dicom

from prdit.data.quality import Excluded, Facts, QualityRow
from prdit.errors import UserError

MIN_SLICES = 4
_LOW = -500
"""HU that every CT of a body has voxels below and above of."""
LOWEST_HU, HIGHEST_HU = -1024, 3071
"""The 12-bit range of CT. Padding at -3024 or metal at 30000 must not reach a filter."""


@dataclass(frozen=True)
class Scan:
    """Hounsfield units with the geometry that SimpleITK wants, in patient coordinates (LPS)."""

    hu: NDArray[np.int16]
    """[z, y, x] in image axes, within [LOWEST_HU, HIGHEST_HU]."""
    spacing_xyz: tuple[float, float, float]
    """Voxel size in mm along image x, y, z."""
    origin_xyz: tuple[float, float, float]
    """Centre of voxel [0, 0, 0] in mm."""
    direction: NDArray[np.float64]
    """[3, 3]; its columns are the patient directions of image x, y, z."""
    middle_xyz: tuple[float, float, float] | None = None
    """What a cube is cut around, in patient coordinates, mm; None: the middle of the scan."""
    flags: tuple[str, ...] = ()
    """What was mended, in plain words."""
    quality: QualityRow = field(default_factory=QualityRow)
    """The facts the reader knows."""

    def image(self) -> sitk.Image:
        """The same scan as a SimpleITK image."""
        image = sitk.GetImageFromArray(self.hu)
        image.SetSpacing(self.spacing_xyz)
        image.SetOrigin(self.origin_xyz)
        image.SetDirection(self.direction.ravel().tolist())
        return image

    def to_patient(self, index_xyz: ArrayLike) -> NDArray[np.float64]:
        """Image indices [..., (x, y, z)] to patient coordinates in mm."""
        steps_mm = np.asarray(index_xyz, np.float64) * self.spacing_xyz
        return self.origin_xyz + steps_mm @ self.direction.T

    def to_index(self, point_xyz: ArrayLike) -> NDArray[np.float64]:
        """Patient coordinates [..., (x, y, z)] in mm to fractional image indices."""
        inverse = np.linalg.inv(self.direction)
        return (np.asarray(point_xyz) - self.origin_xyz) @ inverse.T / self.spacing_xyz

    @property
    def centre_xyz(self) -> NDArray[np.float64]:
        """What a cube is cut around in patient coordinates, mm."""
        if self.middle_xyz is not None:
            return np.array(self.middle_xyz)
        return self.to_patient((np.array(self.hu.shape[::-1]) - 1) / 2)

    def cube_origin(self, size: int, spacing_mm: float) -> NDArray[np.float64]:
        """[3], centre (x, y, z) in mm of the first voxel of the cube around the middle."""
        return self.centre_xyz - spacing_mm * (size - 1) / 2


def clamp_hu(values: NDArray[np.floating]) -> NDArray[np.int16]:
    """Round to int16 within [LOWEST_HU, HIGHEST_HU]."""
    return np.rint(np.clip(values, LOWEST_HU, HIGHEST_HU)).astype(np.int16)


def with_geometry(scan: Scan) -> Scan:
    """The scan with spacing, size, extent and orientation in its quality row.

    Raises:
        Excluded: a spacing or size that no CT of a body has.
    """
    facts: Facts = {"axial": bool(np.abs(scan.direction - np.eye(3)).max() <= 1e-3)}
    for axis, spacing, size in zip("xyz", scan.spacing_xyz, scan.hu.shape[::-1], strict=True):
        if not 0.05 <= spacing <= 20:
            raise Excluded(f"a voxel spacing of {spacing:g} mm, which no CT has")
        if size < MIN_SLICES:
            raise Excluded(f"only {size} voxels along an axis, at least {MIN_SLICES} are needed")
        facts |= {
            f"spacing_{axis}": spacing,
            f"size_{axis}": size,
            f"extent_{axis}": spacing * size,
        }
    return replace(scan, quality=replace(scan.quality, **facts))


def raw_facts(low: float, high: float, sample: NDArray[np.number]) -> Facts:
    """Range, and 1 % and 99 % quantiles of a sample, of HU before padding and clamping."""
    p1, p99 = np.percentile(sample, [1, 99])
    return {
        "raw_min": float(low),
        "raw_max": float(high),
        "raw_p1": float(p1),
        "raw_p99": float(p99),
    }


def read_image(path: Path) -> Scan:
    """Read a CT volume in HU from one file: .nii, .nii.gz, .mha, .nrrd, whatever SimpleITK knows.

    Raises:
        UserError: missing, unreadable, or not one three-dimensional image of plain numbers.
        Excluded: the values cannot be Hounsfield units.
    """
    if not path.is_file():
        raise UserError(f"there is no folder or image file {path}; correct the path")
    if is_dicom(path):
        raise UserError(f"{path} is one DICOM file of a series; give the folder of all")
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UserError(
            f"cannot read {path} as a medical image; bring it anew, as .nii.gz, .mha or .nrrd"
        ) from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise UserError(
            f"{path} is not one three-dimensional image of single values; give one scan in HU"
        )
    raw = sitk.GetArrayViewFromImage(image)
    _refuse_foreign_values(path, raw)
    facts = raw_facts(raw.min(), raw.max(), raw[:, ::4, ::4])
    return with_geometry(
        Scan(
            hu=clamp_hu(raw),
            spacing_xyz=image.GetSpacing(),
            origin_xyz=image.GetOrigin(),
            direction=np.array(image.GetDirection()).reshape(3, 3),
            quality=QualityRow(n_files=1, n_used=1, **facts),
        )
    )


def _refuse_foreign_values(path: Path, raw: NDArray[np.number]) -> None:
    finite = bool(np.isfinite(raw).all())
    if path.name.lower().endswith((".nii", ".nii.gz")):  # SimpleITK reads their NaN as 0
        try:
            finite = bool(np.isfinite(np.asanyarray(nib.load(path).dataobj)).all())
        except Exception as error:  # noqa: BLE001 - SimpleITK takes what is cut short for whole
            told = " ".join(str(error).split()) or type(error).__name__
            raise Excluded(f"cannot be read as NIfTI ({told})") from None
    if not finite:
        raise Excluded("the image holds values that are not finite numbers")


def check_hu(hu: NDArray[np.int16]) -> None:
    """Raise Excluded unless values [z, y, x] are of a CT: with air, and with more than air."""
    low, high = int(hu.min()), int(hu.max())
    if low > _LOW or high < _LOW:
        raise Excluded(f"values from {low} to {high}, which are no CT in HU")
