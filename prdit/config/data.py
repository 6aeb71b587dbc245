"""Data sets: where scans come from and what is made of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from prdit.config.entry import Entry

Millimetres = Annotated[float, Field(gt=0, le=100)]


class Array(Entry):
    """What a bare array [z, y, x] of HU does not say of itself; by default as in RAD-ChestCT."""

    key: str = Field("ct", description="Name of the array in the .npz file.")
    spacing_mm: Millimetres | tuple[Millimetres, Millimetres, Millimetres] = Field(
        0.8, description="Voxel size: one number, or [z, y, x]."
    )
    head_first: bool = Field(True, description="Whether z runs from the head to the feet.")

    @property
    def spacing_xyz(self) -> tuple[float, float, float]:
        """Voxel size in mm along x, y, z."""
        if isinstance(self.spacing_mm, tuple):
            z, y, x = self.spacing_mm
            return x, y, z
        return (self.spacing_mm,) * 3


class Source(Entry):
    """Where scans come from; they are fetched and preprocessed in jobs of some scans each."""

    series_per_job: int = Field(16, ge=1)

    def bare(self) -> Array | None:
        """What scans that are bare arrays do not say of themselves; None for all others."""
        return None


class Phantom(Source):
    """Procedural thorax phantoms, written as DICOM series or as RAD-ChestCT's arrays."""

    kind: Literal["phantom"]
    format: Literal["dicom", "npz"] = "dicom"
    count: int = Field(192, ge=4, description="Number of scans.")
    seed: int = Field(0, ge=0)
    voxel_mm: float = Field(2.8, gt=0, description="Nominal voxel edge of the scans in mm.")

    def bare(self) -> Array | None:
        return Array(spacing_mm=self.voxel_mm) if self.format == "npz" else None


class ImagingDataCommons(Source):
    """CT series of the Imaging Data Commons, listed in a manifest."""

    kind: Literal["idc"]
    manifest: str = Field(description="CSV with one row per series, relative to the repository.")
    endpoints: list[str] = Field(
        ["https://s3.amazonaws.com", "https://storage.googleapis.com"],
        min_length=1,
        description="Servers of the bucket idc-open-data, tried in this order.",
    )


class Zenodo(Source):
    """Scans of a restricted record of Zenodo: one .npz each, and a table of their patients."""

    kind: Literal["zenodo"]
    record: int = Field(6406114, description="6406114 is RAD-ChestCT.")
    scans: int = Field(3630, ge=1, description="Scans of the record, so that jobs can be planned.")
    url: str = "https://zenodo.org"
    array: Array = Array()

    def bare(self) -> Array | None:
        return self.array


class Patients(Entry):
    """A CSV that tells whose scan is whose."""

    file: str
    scan: str = Field(
        "scan", description="Column with SeriesInstanceUID, path in the folder, or name of file."
    )
    patient: str = Field("patient", description="Column with the patient.")


class Folder(Source):
    """Scans that are there already, anywhere below a folder, which is never written to."""

    folder: str = Field(min_length=1)
    patients: Patients | None = Field(
        None, description="Default: what DICOM says; each file is a patient of its own."
    )


class Dicom(Folder):
    """CT series of DICOM files; a folder may hold several."""

    kind: Literal["dicom"]


class Nifti(Folder):
    """Image files: .nii, .nii.gz, .mha, .nrrd."""

    kind: Literal["nifti"]


class Npz(Folder):
    """Bare arrays in .npz files."""

    kind: Literal["npz"]
    array: Array = Array()

    def bare(self) -> Array | None:
        return self.array


class Grid(Entry):
    """The cube that every scan is resampled to (section 4: 256^3 voxels of 1 mm)."""

    size: int = Field(256, ge=8, description="Voxels per edge.")
    spacing_mm: Millimetres = 1.0
    method: Literal["linear", "released"] = Field(
        "linear", description="released: cubic, cropped only; small scans are excluded."
    )
    crop: Literal["center", "lung_bbox"] = Field(
        "center", description="The cube's middle: that of the scan, or of the box around its lungs."
    )

    @model_validator(mode="after")
    def _as_released(self) -> Grid:
        if self.method == "released" and self.crop != "center":
            raise ValueError("the released method crops around the center; write `crop: center`")
        return self


class Window(Entry):
    """The HU range that is mapped to [-1, 1]; the same for all volumes, hence invertible."""

    low: float = -1000.0
    high: float = 400.0
    quantile: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Released code: each volume's own upper bound; high is nominal.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Window:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g} HU) must be below high ({self.high:g} HU)")
        return self


Preset = Literal["default", "radiology_lung", "wide", "released_lidc", "released_rad"]
PRESETS = {
    "default": Window(),
    "radiology_lung": Window(low=-1350, high=150),
    "wide": Window(low=-1000, high=1000),
    "released_lidc": Window(low=-1000, high=1000, quantile=0.999),
    "released_rad": Window(low=-1000, high=1000, quantile=0.995),
}
"""Windows that have a name: the default, a radiologist's, MAISI's, and the released code's."""


def _preset(window: Any) -> Any:
    """A preset by its name; anything else as it is."""
    if isinstance(window, str):
        if window not in PRESETS:
            raise ValueError(f"there is no window '{window}'; known are: {', '.join(PRESETS)}")
        return PRESETS[window]
    return window


class Split(Entry):
    """Training and held-out patients (A.9.2: 90 % and 10 %)."""

    held_out: float = Field(
        0.1, gt=0, description="Share of the patients; from 1 on, their number."
    )
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _whole(self) -> Split:
        whole("held_out", self.held_out)
        return self


def whole(key: str, value: float) -> None:
    """Raise ValueError for a number that is no share and no count."""
    if value > 1 and value != round(value):
        raise ValueError(f"{key} is {value:g}; write a share below 1, or a whole number")


class Dataset(Entry):
    """One collection of chest CT."""

    label: str = Field(description="Name in tables and figures.")
    published: str | None = Field(None, description="Its key in config/published.yaml, if any.")
    source: Annotated[
        Phantom | ImagingDataCommons | Zenodo | Dicom | Nifti | Npz, Field(discriminator="kind")
    ]
    grid: Grid = Grid()
    window: Annotated[Window, BeforeValidator(_preset, json_schema_input_type=Window | Preset)] = (
        Window()
    )
    split: Split = Split()
    max_excluded: float = Field(
        0.05, ge=0, description="Most series that may be excluded: a share; from 1 on, a number."
    )

    @model_validator(mode="after")
    def _whole(self) -> Dataset:
        whole("max_excluded", self.max_excluded)
        return self
