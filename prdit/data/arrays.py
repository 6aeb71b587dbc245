"""A CT as a bare array in an .npz file, as RAD-ChestCT has it: geometry is a convention."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from prdit.config.data import Array
from prdit.data.quality import Excluded, QualityRow
from prdit.data.scan import Scan, clamp_hu, raw_facts, with_geometry
from prdit.errors import UserError

_MOST_VOXELS = 1024**3
"""Of one scan: a whole body at 0.8 mm has less. A header that claims more would fill the memory."""


def read_array(path: Path, array: Array) -> Scan:
    """Read [z, y, x] HU from an .npz, and turn them so that z runs from the feet to the head.

    y runs from front to back and x from the patient's right to left, as RAD-ChestCT's do. Nothing
    is unpickled.

    Raises:
        UserError: there is no such file.
        Excluded: damaged, no such array, or values that are no CT in HU.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    hu = _load(path, array.key)
    low, high = hu.min(), hu.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise Excluded("the array holds values that are not finite numbers")
    upright = hu[::-1] if array.head_first else hu
    facts = raw_facts(low, high, upright[:, ::4, ::4])
    z, y, x = hu.shape
    origin = [-(n - 1) / 2 * step for n, step in zip((x, y, z), array.spacing_xyz, strict=True)]
    return with_geometry(
        Scan(
            hu=clamp_hu(upright),
            spacing_xyz=array.spacing_xyz,
            origin_xyz=(origin[0], origin[1], origin[2]),
            direction=np.eye(3),
            quality=QualityRow(n_files=1, n_used=1, **facts),
        )
    )


def _load(path: Path, key: str) -> NDArray[Any]:
    """One array of a file, if it is three-dimensional, of real numbers and of a sane size."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            if key not in names:
                raise Excluded(f"no array '{key}' in the file; it has {', '.join(names)[:200]}")
            with archive.open(f"{key}.npy") as member:
                _check_header(member, archive.getinfo(f"{key}.npy").file_size)
            with archive.open(f"{key}.npy") as member:
                return np.lib.format.read_array(member, allow_pickle=False)
    except Excluded:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged archive can fail in any way
        raise Excluded(f"cannot be read as .npz ({str(error) or type(error).__name__})") from None


def _check_header(member: IO[bytes], size: int) -> None:
    version = np.lib.format.read_magic(member)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(member)
    if len(shape) != 3 or dtype.kind not in "iuf":
        raise Excluded(f"an array of {dtype} with shape {shape}; a CT is numbers [z, y, x]")
    if (
        not 0 < np.prod(shape, dtype=float) <= _MOST_VOXELS
        or np.prod(shape) * dtype.itemsize > size
    ):
        raise Excluded(f"an array that claims shape {shape}, which the file cannot hold")
