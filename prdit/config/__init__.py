"""The config, typed: the one source of its defaults, checks and JSON schema.

Machine settings (partitions, GPUs, threads, batch per device) are no part of it, but for
`local_downloads` and `torch_build`; they live in Snakemake profiles.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from prdit.config.checks import check
from prdit.config.data import (
    Array,
    Dataset,
    Dicom,
    Folder,
    Grid,
    ImagingDataCommons,
    Nifti,
    Npz,
    Patients,
    Phantom,
    Split,
    Window,
    Zenodo,
)
from prdit.config.entry import Entry, Name
from prdit.config.models import Model, PRDiT, PRDiTRefined, Sampler, on_dataset
from prdit.config.rivals import HAGAN, LDM3D, VQGAN, WDM3D, Own
from prdit.config.selections import (
    BranchesShown,
    Figures,
    RealShown,
    Row,
    Selection,
    Shown,
    Tables,
)
from prdit.config.training import Critic, Training

__all__ = [
    "HAGAN",
    "LDM3D",
    "VQGAN",
    "WDM3D",
    "Array",
    "Backbone",
    "BranchesShown",
    "Config",
    "Critic",
    "Dataset",
    "Dicom",
    "Entry",
    "Evaluation",
    "Figures",
    "Folder",
    "Grid",
    "ImagingDataCommons",
    "Model",
    "Name",
    "Nifti",
    "Npz",
    "Own",
    "PRDiT",
    "PRDiTRefined",
    "Patients",
    "Phantom",
    "RealShown",
    "Row",
    "Sampler",
    "Sampling",
    "Selection",
    "Shown",
    "Split",
    "Tables",
    "Training",
    "Window",
    "Zenodo",
]


Count = Annotated[int, Field(ge=1)]


class Sampling(Entry):
    """How many volumes are drawn, and in what portions."""

    volumes: int = Field(1000, ge=2, description="Volumes per model, sampler and seed.")
    volumes_per_job: int = Field(50, ge=1)
    volumes_per_job_of: dict[Count, Count] = Field(
        {}, description="Edge in voxels -> another number, where volumes take longer."
    )

    def portion(self, size: int) -> int:
        """Volumes that a job draws, of `size` voxels per edge."""
        return self.volumes_per_job_of.get(size, self.volumes_per_job)


class Backbone(Entry):
    """A network that features are taken with."""

    network: Literal["resnet10", "resnet50"] = Field("resnet50", description="3D ResNet.")
    weights: str | None = Field(
        None, description="MedicalNet file, e.g. resnet_50.pth; none: a seeded random network."
    )


class Evaluation(Backbone):
    """What scores are made of."""

    beside: Backbone | None = Field(
        None, description="A second network, whose FID and MMD stand in columns of their own."
    )
    critic: Critic = Critic()
    reference: int = Field(
        1000, ge=2, description="Real volumes compared with: the first so many, by sorted id."
    )


class Config(Entry):
    """A whole run of the workflow. Everything it makes lands in `results/<name>/`."""

    name: Name
    raw: str | None = Field(
        None,
        pattern=r"^[^{}<>]+$",
        description="Folder of raw scans; default `results/<name>/raw`. Share it to save disk.",
    )
    local_downloads: bool = Field(
        False, description="Download where Snakemake runs: for nodes without the internet."
    )
    torch_build: Literal["default", "cu126", "cu130", "cpu"] = Field(
        "default",
        description="Build of torch in conda environments: `default`, PyPI's for CUDA 13.0, needs"
        " NVIDIA driver 580 or newer; `cu126` (CUDA 12.6) needs 525; `cpu` uses no GPU.",
    )
    datasets: dict[Name, Dataset] = Field(min_length=1)
    models: dict[Name, Model] = Field(default={})
    samplers: dict[Name, Sampler] = Field(default={})
    sampling: Sampling = Sampling()
    evaluation: Evaluation = Evaluation()
    tables: Tables = Tables()
    figures: Figures = Figures()

    @model_validator(mode="after")
    def _parts_fit(self) -> Config:
        check(self)
        return self

    @property
    def raw_folder(self) -> str:
        """Where raw scans lie."""
        return self.raw or f"results/{self.name}/raw"

    def selections(self) -> dict[str, Selection]:
        """The tables and figures asked for, by their place in the config."""
        found = {}
        for group in ("tables", "figures"):
            for key, selection in getattr(self, group):
                if isinstance(selection, Selection):
                    found[f"{group}.{key}"] = selection
        return found

    def on(self, dataset: str) -> Config:
        """The same, with models as they are on a data set."""
        models = {}
        for name, model in self.models.items():
            try:
                models[name] = on_dataset(model, dataset)
            except ValueError as error:
                raise ValueError(f"models.{name}.per_dataset.{dataset}: {error}") from None
        return self.model_copy(update={"models": models})

    def start_size(self, name: str, size: int) -> int:
        """Edge of the volumes that a model's start_from makes, if the model itself makes `size`."""
        model = self.models[name]
        if model.start_from is None or model.generator != "prdit_refined":
            return size
        return size // 2 if self.models[model.start_from].generator == "prdit" else size

    def base(self, name: str) -> Model | None:
        """The model of another kind that a model builds on: along its chain of start_from."""
        model = self.models[name]
        kind = model.generator
        while model.generator == kind:
            if model.start_from is None:
                return None
            model = self.models[model.start_from]
        return model
