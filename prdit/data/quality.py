"""One row of facts per series: what was read, what was mended, what came out. Never silent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from prdit.files import read_csv, taken_from, write_csv

Facts = dict[str, Any]
"""Some columns of a quality row, by name."""


@dataclass(frozen=True)
class QualityRow:
    """What is known of one series. Lengths in mm, densities in HU; None where not reached."""

    series_uid: str = ""
    study_uid: str = ""
    patient_id: str = ""
    path: str = ""
    """Where the scan lay when it was read."""
    status: str = ""
    """ok, fixed (usable after the mending in `flags`) or excluded (see `reason`)."""
    reason: str = ""
    flags: str = ""
    """What was mended, in plain words, separated by '; '."""

    n_files: int | None = None
    """Files of this series, before duplicates and end slices are dropped."""
    n_ignored: int | None = None
    """Other files in the folder: other series, localizers, notes."""
    n_used: int | None = None
    n_duplicates: int | None = None
    n_missing: int | None = None
    dz_median: float | None = None
    dz_min: float | None = None
    dz_max: float | None = None
    tilt_deg: float | None = None
    axial: bool | None = None
    """Image axes are the patient's own: supine, head first, not oblique."""
    spacing_z: float | None = None
    spacing_y: float | None = None
    spacing_x: float | None = None
    size_z: int | None = None
    size_y: int | None = None
    size_x: int | None = None
    extent_z: float | None = None
    extent_y: float | None = None
    extent_x: float | None = None
    slice_thickness: float | None = None
    kernel: str = ""

    rescale: str = ""
    """Every (slope, intercept) of the series, as 'slope*v+intercept' separated by '; '."""
    padding_value: int | None = None
    padding_fraction: float | None = None
    raw_min: float | None = None
    raw_max: float | None = None
    raw_p1: float | None = None
    raw_p99: float | None = None
    """Raw: HU before padding is replaced and values are clamped."""

    lung_kept: float | None = None
    """Share of the scan's lung that lies inside the output cube."""
    pad_fraction: float | None = None
    """Share of the output cube that lies outside the scan."""
    body_share: float | None = None
    lung_ml: float | None = None
    out_min: float | None = None
    out_max: float | None = None
    out_mean: float | None = None
    out_std: float | None = None
    sha256: str = ""
    """Of the output voxels, little-endian int16 in [z, y, x] order."""


class Excluded(Exception):
    """This scan cannot be used: the reason, and what was found out before."""

    def __init__(self, reason: str, quality: QualityRow | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.quality = quality


def voxels_sha256(hu: np.ndarray) -> str:
    """Digest of the voxels [D, H, W] of a volume, whatever its file is compressed with."""
    return hashlib.sha256(hu.astype("<i2", copy=False).tobytes()).hexdigest()


def write_rows(path: Path, rows: Iterable[QualityRow]) -> None:
    """Save rows as CSV, whole or not at all; None becomes an empty cell."""
    write_csv(path, [field.name for field in fields(QualityRow)], map(astuple, rows))


def read_rows(path: Path) -> list[QualityRow]:
    """Load rows written by `write_rows`, exactly as they were.

    Raises:
        UserError: the file is missing, damaged, or has other columns.
    """
    rows = read_csv(path, [field.name for field in fields(QualityRow)])
    with taken_from(path):
        return [_parse(row) for row in rows]


def _parse(cells: dict[str, str]) -> QualityRow:
    kinds = {field.name: str(field.type) for field in fields(QualityRow)}
    return QualityRow(**{name: _value(kinds[name], text) for name, text in cells.items()})


def _value(kind: str, text: str) -> Any:
    if kind == "str":
        return text
    if text == "":
        return None
    if kind == "bool | None":
        return text == "True"
    return int(text) if kind == "int | None" else float(text)
