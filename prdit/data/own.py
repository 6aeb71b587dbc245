"""One CT of your own, by hand: `prdit preprocess SCAN OUT.nii.gz`."""

from __future__ import annotations

from pathlib import Path

from prdit.config.data import Grid
from prdit.data.preprocess import preprocess_series
from prdit.data.quality import write_rows
from prdit.data.volume import write_nifti
from prdit.errors import UserError


def preprocess_own(scan: Path, out: Path, series: str | None, size: int, spacing_mm: float) -> None:
    """Write a CT as a cube of HU to `out`, and its facts to a .quality.csv beside it.

    Args:
        scan: folder of DICOM files, or an image file.
        out: ends in .nii.gz or .nii.
        series: SeriesInstanceUID, where the folder holds several.

    Raises:
        UserError: wrong names or numbers, no CT there, or a series that cannot be used.
    """
    name = out.name.removesuffix(".gz")
    if not name.endswith(".nii"):
        raise UserError(f"the output {out} is no NIfTI name; end it in .nii.gz")
    if not (8 <= size <= 1024 and 0.1 <= spacing_mm <= 50):
        raise UserError("--size must lie within 8 and 1024, --spacing-mm within 0.1 and 50")
    if out.resolve().is_relative_to(scan.resolve()):
        raise UserError(f"the output {out} lies in the input, which is never written to")
    volume, row = preprocess_series(scan, Grid(size=size, spacing_mm=spacing_mm), series)
    if volume is None:
        raise UserError(f"{scan} cannot be used: {row.reason}")
    write_nifti(out, volume)
    facts = out.with_name(name.removesuffix(".nii") + ".quality.csv")
    write_rows(facts, [row])
    mended = f" ({row.flags})" if row.flags else ""
    lungs = f"lungs {row.lung_ml:.0f} ml" if row.lung_ml else "no lung found"
    print(f"{out}: {row.status}{mended}; {lungs}; all facts in {facts}")
