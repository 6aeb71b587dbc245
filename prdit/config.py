"""The config, typed: the one source of its defaults, checks and JSON schema.

Machine settings (partitions, GPUs, threads, batch per device) are no part of it; they live in
Snakemake profiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from prdit.config_checks import check

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
    start_weights: Literal["ema", "raw"] = Field("ema", description="Which weights of it.")
    local: bool = Field(True, description="False: the transformer alone (Table 4).")
    depth: int = Field(4, ge=0, description="Transformer blocks L.")
    width: int = Field(768, ge=6, description="Transformer width h; a multiple of 6 and of heads.")
    heads: int = Field(12, ge=1)
    patch: int = Field(12, ge=1, description="Edge p of the patches that are read.")
    stride: int = Field(8, ge=1, description="Edge s of the patches that are written.")
    timesteps: int = Field(1000, ge=2, description="T.")
    first_timestep: Literal[0, 1] = Field(1, description="t in 1..T (paper) or 0..T-1 (released).")
    noise_std: float = Field(1.0, gt=0, description="Standard deviation of eps (Eq. 1: 1).")
    start_gain: float = Field(0.1, gt=0, description="Xavier gain of what start_from leaves out.")
    training: Training

    @model_validator(mode="after")
    def _shapes(self) -> PRDiT:
        if self.depth > 0 and self.width % 6:
            near = (self.width // 6 or 1) * 6
            raise ValueError(
                f"width {self.width} is no multiple of 6, which the 3D position code needs;"
                f" write {near} or {near + 6}"
            )
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}")
        check_patches(self.patch, self.stride)
        if self.depth > 0 and self.local and self.start_from is None:
            raise ValueError("a model with depth > 0 needs start_from: the name of its stage 1")
        if not self.local and (self.depth == 0 or self.start_from is not None):
            raise ValueError("without the Local Denoiser, depth must be > 0 and start_from absent")
        return self


class PRDiTRefined(Entry):
    """A refinement of a trained PRDiT at twice its resolution (section 3.4, A.8)."""

    generator: Literal["prdit_refined"]
    start_from: Name = Field(description="A PRDiT of half the edge, or a refined one to train on.")
    start_weights: Literal["ema", "raw"] = Field("ema", description="Which weights of it.")
    train_base: bool = Field(False, description="Train all of it, not the refinement alone.")
    refiner_input: Literal["noisy", "noisy_and_estimates"] = Field(
        "noisy", description="Whether the upsampled signal estimate is a second input."
    )
    consistency: float = Field(0.1, ge=0, description="Weight of the low-frequency consistency.")
    width: int = Field(768, ge=1, description="Width of the refinement's time embedding.")
    patch: int = Field(12, ge=1, description="Edge of the patches that are read.")
    stride: int = Field(8, ge=1, description="Edge of the patches that are written.")
    training: Training

    @model_validator(mode="after")
    def _patches(self) -> PRDiTRefined:
        check_patches(self.patch, self.stride)
        return self


def check_patches(patch: int, stride: int) -> None:
    """Raise ValueError unless patches lie centred on their blocks."""
    if patch < stride or (patch - stride) % 2:
        raise ValueError(
            f"patch {patch} must exceed stride {stride} by an even number, or equal it (no overlap)"
        )


def _generator(value: Any) -> str:
    """The kind of a model entry: PRDiT unless it says otherwise."""
    if isinstance(value, Mapping):
        return str(value.get("generator", "prdit"))
    return str(value.generator)


Model = Annotated[
    Annotated[PRDiT, Tag("prdit")] | Annotated[PRDiTRefined, Tag("prdit_refined")],
    Discriminator(_generator),
]


class Sampler(Entry):
    """A way from noise to a volume (section 3.3, Algorithm 1)."""

    kind: Literal["predictor_corrector", "noise_only", "conventional"] = Field(
        "predictor_corrector", description="noise_only (Eq. 8) and conventional (Eq. 7): Table 5."
    )
    k: float = Field(2.0, ge=1, description="Predictor steps; 1 is cold sampling.")
    steps: int = Field(1000, ge=1, description="Calls of the model.")
    schedule: Literal["even", "released"] = Field(
        "even", description="From T to 0 in exactly `steps` steps, or as the released code does."
    )
    output: Literal["state", "prediction"] = Field(
        "state", description="The last state, or the last prediction of the volume."
    )


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


class Row(Entry):
    """What a row of a table or figure shows; what it leaves out is the selection's."""

    model: Name
    sampler: Name | None = None
    size: int | None = Field(None, ge=8)


class Shown(NamedTuple):
    """A row in full."""

    label: str
    model: str
    sampler: str
    size: int


class Selection(Entry):
    """The samples that a table or figure shows, a row each."""

    datasets: list[Name] = Field(min_length=1)
    size: int = Field(ge=8, description="Edge of the volumes in voxels.")
    sampler: Name
    seeds: list[int] = Field(default=[0], min_length=1, description="Of sampling.")
    rows: Annotated[
        Annotated[list[Name], Tag("models")] | Annotated[dict[str, Row], Tag("labelled")],
        Discriminator(lambda rows: "labelled" if isinstance(rows, Mapping) else "models"),
    ] = Field(description="Models; or by label: model, and sampler and size if they differ.")

    def shown(self) -> list[Shown]:
        """All rows in full."""
        rows = self.rows if isinstance(self.rows, dict) else {m: Row(model=m) for m in self.rows}
        return [
            Shown(label, row.model, row.sampler or self.sampler, row.size or self.size)
            for label, row in rows.items()
        ]


class Tables(Entry):
    """Tables of the paper to make."""

    table_1: Selection | None = Field(None, description="Models side by side.")
    table_2: Selection | None = Field(None, description="256^3.")
    table_3: Selection | None = Field(None, description="From scratch against low-to-high.")
    table_4: Selection | None = Field(None, description="Components, and predictor steps k.")
    table_5: Selection | None = Field(None, description="Noise-only and conventional samplers.")
    table_7: Selection | None = Field(None, description="As Table 3; the paper prints it twice.")
    table_8: Selection | None = Field(None, description="Frozen against fine-tuned base.")


class Figures(Entry):
    """Slice figures to make: axial, coronal and sagittal, real beside generated."""

    depths: Selection | None = Field(None, description="As Figures 4 and 12: one row per model.")
    predictor_steps: Selection | None = Field(None, description="As Figures 7 to 9: one row per k.")
    samplers: Selection | None = Field(None, description="As Figure 10: noise-only samplers.")
    components: Selection | None = Field(None, description="The ablations of Table 4.")
    high_resolution: Selection | None = Field(None, description="As Figures 11 and 14.")


class Config(Entry):
    """A whole run of the workflow. Everything it makes lands in `results/<name>/`."""

    name: Name
    raw: str | None = Field(
        None,
        description="Folder of raw scans; default `results/<name>/raw`. Share it to save disk.",
    )
    datasets: dict[Name, Dataset] = Field(min_length=1)
    models: dict[Name, Model] = Field(min_length=1)
    samplers: dict[Name, Sampler] = Field(min_length=1)
    sampling: Sampling = Sampling()
    evaluation: Evaluation = Evaluation()
    tables: Tables = Tables()
    figures: Figures = Figures()

    @model_validator(mode="after")
    def _parts_fit(self) -> Config:
        check(self)
        return self

    def selections(self) -> dict[str, Selection]:
        """The tables and figures asked for, by their place in the config."""
        found = {}
        for group in ("tables", "figures"):
            for key, selection in getattr(self, group):
                if selection is not None:
                    found[f"{group}.{key}"] = selection
        return found

    def start_size(self, name: str, size: int) -> int:
        """Edge of the volumes that a model's start_from makes, if the model itself makes `size`."""
        model = self.models[name]
        if model.start_from is None or model.generator == "prdit":
            return size
        return size // 2 if self.models[model.start_from].generator == "prdit" else size

    def base(self, name: str) -> PRDiT | None:
        """The PRDiT that a refined model refines, at the end of its chain of start_from."""
        model = self.models[name]
        if isinstance(model, PRDiT):
            return None
        while isinstance(model, PRDiTRefined):
            model = self.models[model.start_from]
        return model
