"""Data sets: where scans come from and what is made of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from prdit.config.entry import Entry


class Phantom(Entry):
    """Procedural thorax phantoms, written as DICOM series."""

    kind: Literal["phantom"]
    count: int = Field(192, ge=4, description="Number of subjects, one series each.")
    seed: int = Field(0, ge=0)
    voxel_mm: float = Field(2.8, gt=0, description="Nominal voxel edge of the scans in mm.")
    series_per_job: int = Field(16, ge=1)


class ImagingDataCommons(Entry):
    """CT series of the Imaging Data Commons, listed in a manifest."""

    kind: Literal["idc"]
    manifest: str = Field(description="CSV with one row per series, relative to the repository.")
    series_per_job: int = Field(16, ge=1)


class Grid(Entry):
    """The cube that every scan is resampled to (section 4: 256^3 voxels of 1 mm)."""

    size: int = Field(256, ge=8, description="Voxels per edge.")
    spacing_mm: float = Field(1.0, gt=0)
    method: Literal["linear", "released"] = Field(
        "linear", description="released: cubic, cropped only; small scans are excluded."
    )


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


class Split(Entry):
    """Training and held-out patients (A.9.2: 90 % and 10 %)."""

    held_out: float = Field(
        0.1, gt=0, description="Share of the patients; from 1 on, their number."
    )
    seed: int = Field(0, ge=0)


class Dataset(Entry):
    """One collection of chest CT."""

    label: str = Field(description="Name in tables and figures.")
    published: str | None = Field(None, description="Its key in config/published.yaml, if any.")
    source: Annotated[Phantom | ImagingDataCommons, Field(discriminator="kind")]
    grid: Grid = Grid()
    window: Window = Window()
    split: Split = Split()
