"""A CT volume in Hounsfield units, its geometry, its NIfTI file and its intensity window."""

from __future__ import annotations

import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
from nibabel import orientations
from nibabel.filebasedimages import ImageFileError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import ArrayLike, NDArray

from prdit.errors import UserError
from prdit.files import atomic

Real = TypeVar("Real", bound=np.floating)
AIR_HU = -1000
_UNREADABLE = (OSError, EOFError, ValueError, zlib.error, ImageFileError)
_MAX_OBLIQUITY = 1e-3
"""Largest off-axis direction cosine that still counts as axial: 0.1 mm over 10 cm."""


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


def write_nifti(path: Path, volume: Volume, note: str = "") -> None:
    """Save as int16 HU NIfTI that opens in place in any viewer; gzip if the name ends in .gz.

    Equal volumes give equal bytes. The file appears whole or not at all.

    Args:
        note: stands in the header as its description; 79 characters at most.
    """
    sz, sy, sx = volume.spacing_mm
    oz, oy, ox = volume.origin_mm
    ras_from_xyz = np.diag([-sx, -sy, sz, 1.0])  # NIfTI is RAS, DICOM is LPS: x and y change sign
    ras_from_xyz[:3, 3] = -ox, -oy, oz
    image = nib.Nifti1Image(volume.hu.astype(np.int16, copy=False).transpose(2, 1, 0), ras_from_xyz)
    image.set_sform(ras_from_xyz, code="scanner")
    image.set_qform(ras_from_xyz, code="scanner")
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = note
    payload = image.to_bytes()
    with atomic(path) as partial:
        partial.write_bytes(_gzip(payload) if path.suffix == ".gz" else payload)


def read_note(path: Path) -> str | None:
    """The note of a NIfTI file that is whole (gzip checks it); None if it is not, or not there."""
    try:
        payload = gzip.decompress(path.read_bytes())
        header = nib.Nifti1Header.from_fileobj(io.BytesIO(payload))
        voxels = int(np.prod(header.get_data_shape())) * header.get_data_dtype().itemsize
        if len(payload) != int(header["vox_offset"]) + voxels:
            return None
        return str(header["descrip"].item(), "ascii")
    except (*_UNREADABLE, WrapStructError):
        return None


def read_nifti(path: Path) -> Volume:
    """Load a NIfTI file of any axis order and direction as a volume with our axes.

    Raises:
        UserError: not a readable NIfTI file, not three-dimensional, not finite, or oblique.
    """
    try:
        image = nib.load(path)
        values = np.asanyarray(image.dataobj)
    except _UNREADABLE as error:
        told = " ".join(str(error).split())
        raise UserError(
            f"cannot read {path} as NIfTI: {told}; delete it and what lists it, and run again"
        ) from error
    if values.ndim < 3 or values.shape[3:].count(1) != values.ndim - 3:
        raise UserError(f"{path} has shape {values.shape}; one volume [x, y, z] is needed")
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise UserError(f"{path} holds values that are not finite numbers, so no HU")
    hu_xyz, lps_from_xyz = _to_lps(values.reshape(values.shape[:3]), image.affine)
    _refuse_oblique(path, lps_from_xyz)
    return Volume(
        hu=np.ascontiguousarray(_as_int16(hu_xyz).transpose(2, 1, 0)),
        spacing_mm=_reversed_triple(np.linalg.norm(lps_from_xyz[:3, :3], axis=0)),
        origin_mm=_reversed_triple(lps_from_xyz[:3, 3]),
    )


def to_window(hu: ArrayLike, low: float, high: float) -> NDArray[np.float32]:
    """Map HU in [low, high] linearly onto [-1, 1], clamping outside. Any shape."""
    unit = (np.asarray(hu, dtype=np.float32) - np.float32(low)) / np.float32(high - low)
    return np.clip(2 * unit - 1, -1, 1).astype(np.float32, copy=False)


def from_window(v: ArrayLike, low: float, high: float) -> NDArray[np.int16]:
    """Map [-1, 1] back to int16 HU in [low, high], clamping outside. Inverse of `to_window`."""
    unit = (np.clip(np.asarray(v, dtype=np.float32), -1, 1) + 1) / 2
    return np.rint(unit * (high - low) + low).astype(np.int16)


def quantile_window(hu: NDArray[Real], low: float, quantile: float) -> tuple[NDArray[Real], float]:
    """The released code's window: [low, the volume's quantile], its least value 0, its greatest 1.

    Args:
        hu: any shape.
        quantile: in (0, 1]; 1 clips nothing above.

    Returns:
        (values in [0, 1] of hu's dtype, HU of 1)

    Raises:
        UserError: no contrast between the two.
    """
    raised = np.maximum(hu, hu.dtype.type(low))
    upper = np.quantile(raised, quantile)
    clipped = np.minimum(raised, upper)
    least = clipped.min()
    if not upper > least:
        raise UserError(
            f"no contrast: nothing above {least:g} HU at quantile {quantile:g}; write a larger"
            " window.quantile, or take the scan away"
        )
    return (clipped - least) / (clipped.max() - least), float(upper)


def average_pool(x: NDArray[np.floating], factor: int) -> NDArray[np.floating]:
    """Mean over cubes of factor^3 voxels: [..., D, H, W] -> [..., D/f, H/f, W/f], same dtype.

    Raises:
        UserError: one of the last three axes is not a multiple of the factor.
    """
    if any(n % factor for n in x.shape[-3:]):
        raise UserError(f"a volume of shape {x.shape[-3:]} cannot be pooled by {factor}")
    d, h, w = (n // factor for n in x.shape[-3:])
    blocks = x.reshape(*x.shape[:-3], d, factor, h, factor, w, factor)
    return blocks.mean(axis=(-5, -3, -1), dtype=x.dtype)


def _gzip(payload: bytes) -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", compresslevel=1, fileobj=buffer, mtime=0) as stream:
        stream.write(payload)
    return buffer.getvalue()


def _to_lps(
    values: NDArray[Any], ras_from_ijk: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Permute and flip [i, j, k] so that its axes run to left, back and head."""
    current = orientations.io_orientation(ras_from_ijk)
    turn = orientations.ornt_transform(current, orientations.axcodes2ornt("LPS"))
    turned = orientations.apply_orientation(values, turn)
    ras_from_xyz = ras_from_ijk @ orientations.inv_ornt_aff(turn, values.shape)
    return turned, np.diag([-1.0, -1.0, 1.0, 1.0]) @ ras_from_xyz


def _refuse_oblique(path: Path, lps_from_xyz: NDArray[np.float64]) -> None:
    axes = lps_from_xyz[:3, :3]
    cosines = axes / np.linalg.norm(axes, axis=0)
    if np.abs(cosines - np.eye(3)).max() > _MAX_OBLIQUITY:
        raise UserError(
            f"{path} is oblique to the patient's axes; preprocess it onto an axial grid first"
        )


def _as_int16(values: NDArray[Any]) -> NDArray[np.int16]:
    if values.dtype == np.int16:
        return values
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(values), limits.min, limits.max).astype(np.int16)


def _reversed_triple(xyz: NDArray[np.float64]) -> tuple[float, float, float]:
    """(x, y, z) as plain floats in the order (z, y, x), free of the noise of float32 headers."""
    x, y, z = (round(float(value), 6) for value in xyz)
    return z, y, x
