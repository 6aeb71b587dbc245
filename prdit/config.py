"""The config, typed: the one source of its defaults, checks and JSON schema.

Machine settings (partitions, GPUs, threads, batch per device) are no part of it; they live in
Snakemake profiles.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Entry(BaseModel):
    """A mapping in the config: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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


class Window(Entry):
    """The HU range that is mapped to [-1, 1]; the same for all volumes, hence invertible."""

    low: float = -1000.0
    high: float = 400.0

    @model_validator(mode="after")
    def _ordered(self) -> Window:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g} HU) must be below high ({self.high:g} HU)")
        return self


class Split(Entry):
    """Training and held-out patients (A.9.2: 90 % and 10 %)."""

    held_out: float = Field(0.1, gt=0, lt=1, description="Share of the patients held out.")
    seed: int = Field(0, ge=0)


class Dataset(Entry):
    """One collection of chest CT."""

    label: str = Field(description="Name in tables and figures.")
    published: str | None = Field(None, description="Its key in config/published.yaml, if any.")
    source: Annotated[Phantom | ImagingDataCommons, Field(discriminator="kind")]
    grid: Grid = Grid()
    window: Window = Window()
    split: Split = Split()


class Training(Entry):
    """One training (A.9.2). Its length is in volumes seen, whatever batch and GPU count."""

    volumes: int = Field(ge=1, description="Length: number of volumes seen.")
    batch: int = Field(64, ge=1, description="Volumes per optimizer step, over all GPUs.")
    learning_rate: float = Field(1e-4, gt=0)
    warmup_steps: int = Field(0, ge=0, description="Steps of linear warm-up.")
    decay: Literal["none", "cosine"] = Field("none", description="Of the learning rate.")
    clip: float = Field(1.0, gt=0, description="Largest global gradient norm.")
    ema: float = Field(0.9999, ge=0, lt=1, description="Decay of the averaged weights, per step.")
    seed: int = Field(0, ge=0)


class PRDiT(Entry):
    """PRDiT (section 3). `depth: 0` is stage 1, the Local Denoiser alone."""

    generator: Literal["prdit"] = "prdit"
    start_from: Name | None = Field(None, description="Model whose trained Local Denoiser is kept.")
    depth: int = Field(4, ge=0, description="Transformer blocks L.")
    width: int = Field(768, ge=6, description="Transformer width h; a multiple of 6 and of heads.")
    heads: int = Field(12, ge=1)
    patch: int = Field(12, ge=1, description="Edge p of the patches that are read.")
    stride: int = Field(8, ge=1, description="Edge s of the patches that are written.")
    timesteps: int = Field(1000, ge=2, description="T.")
    noise_std: float = Field(1.0, gt=0, description="Standard deviation of eps (Eq. 1: 1).")
    start_gain: float = Field(0.1, gt=0, description="Xavier gain of what start_from leaves out.")
    training: Training

    @model_validator(mode="after")
    def _shapes(self) -> PRDiT:
        if self.width % 6:
            near = (self.width // 6 or 1) * 6
            raise ValueError(
                f"width {self.width} is no multiple of 6, which the 3D position code needs;"
                f" write {near} or {near + 6}"
            )
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}")
        if self.patch < self.stride or (self.patch - self.stride) % 2:
            raise ValueError(
                f"patch {self.patch} must exceed stride {self.stride} by an even number,"
                " or equal it (no overlap)"
            )
        if self.depth > 0 and self.start_from is None:
            raise ValueError("a model with depth > 0 needs start_from: the name of its stage 1")
        return self


class Sampler(Entry):
    """A way from noise to a volume (section 3.3, Algorithm 1)."""

    kind: Literal["predictor_corrector"] = "predictor_corrector"
    k: float = Field(2.0, ge=1, description="Predictor steps; 1 is cold sampling.")
    steps: int = Field(1000, ge=1, description="Calls of the model.")


class Sampling(Entry):
    """How many volumes are drawn, and in what portions."""

    volumes: int = Field(1000, ge=2, description="Volumes per model, sampler and seed.")
    volumes_per_job: int = Field(50, ge=1)


class Evaluation(Entry):
    """What scores are made of."""

    network: Literal["resnet10", "resnet50"] = Field("resnet50", description="3D ResNet.")
    weights: str | None = Field(
        None, description="MedicalNet file, e.g. resnet_50.pth; none: a seeded random network."
    )
    reference: int = Field(
        1000, ge=2, description="Real volumes compared with: the first so many, by sorted id."
    )


class Selection(Entry):
    """The scores that a table or figure shows: every combination of these."""

    datasets: list[Name] = Field(min_length=1)
    size: int = Field(ge=8, description="Edge of the volumes in voxels.")
    models: list[Name] = Field(min_length=1)
    samplers: list[Name] = Field(min_length=1)
    seeds: list[int] = Field(default=[0], min_length=1)


class Tables(Entry):
    """Tables of the paper to make."""

    table_1: Selection | None = Field(None, description="Models side by side.")
    table_4: Selection | None = Field(None, description="Right half: predictor steps k.")


class Figures(Entry):
    """Slice figures to make: axial, coronal and sagittal, real beside generated."""

    depths: Selection | None = Field(None, description="As Figures 4 and 12: one row per model.")
    predictor_steps: Selection | None = Field(None, description="As Figures 7 to 9: one row per k.")


class Config(Entry):
    """A whole run of the workflow. Everything it makes lands in `results/<name>/`."""

    name: Name
    raw: str | None = Field(
        None,
        description="Folder of raw scans; default `results/<name>/raw`. Share it to save disk.",
    )
    datasets: dict[Name, Dataset] = Field(min_length=1)
    models: dict[Name, PRDiT] = Field(min_length=1)
    samplers: dict[Name, Sampler] = Field(min_length=1)
    sampling: Sampling = Sampling()
    evaluation: Evaluation = Evaluation()
    tables: Tables = Tables()
    figures: Figures = Figures()

    @model_validator(mode="after")
    def _names_exist(self) -> Config:
        for name, model in self.models.items():
            if model.start_from is not None:
                _known(f"models.{name}.start_from", model.start_from, self.models)
                _same_local_denoiser(name, model, self.models[model.start_from])
        for where, selection in self.selections().items():
            for key in ("datasets", "models", "samplers"):
                for chosen in getattr(selection, key):
                    _known(f"{where}.{key}", chosen, getattr(self, key))
            for dataset in selection.datasets:
                _pools(where, selection.size, dataset, self.datasets[dataset].grid.size)
            for model_name in selection.models:
                _tiles(where, selection.size, model_name, self.models[model_name])
        return self

    def selections(self) -> dict[str, Selection]:
        """The tables and figures asked for, by their place in the config."""
        found = {}
        for group in ("tables", "figures"):
            for key, selection in getattr(self, group):
                if selection is not None:
                    found[f"{group}.{key}"] = selection
        return found


def _known(where: str, name: str, choices: Mapping[str, Any]) -> None:
    if name not in choices:
        raise ValueError(f"{where}: '{name}' is not defined{suggest(name, choices)}")


def suggest(name: str, choices: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the closest known one, or all of them."""
    known = sorted(choices)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known are: {', '.join(known)}" if known else ""


def _same_local_denoiser(name: str, model: PRDiT, start: PRDiT) -> None:
    for key in ("width", "patch", "stride", "timesteps", "noise_std"):
        mine, its = getattr(model, key), getattr(start, key)
        if mine != its:
            raise ValueError(
                f"models.{name}.{key} is {mine:g} but {its:g} in '{model.start_from}', whose Local"
                " Denoiser it starts from; write the same value in both"
            )
    if start.depth != 0:
        raise ValueError(
            f"models.{name}.start_from: '{model.start_from}' is no stage 1; name a model of depth 0"
        )


def _pools(where: str, size: int, dataset: str, cube: int) -> None:
    if cube % size:
        raise ValueError(
            f"{where}.size: {size} does not divide datasets.{dataset}.grid.size ({cube}), from"
            " which volumes are average-pooled"
        )


def _tiles(where: str, size: int, name: str, model: PRDiT) -> None:
    if size % model.stride:
        raise ValueError(
            f"{where}.size: {size} is no multiple of models.{name}.stride ({model.stride})"
        )
