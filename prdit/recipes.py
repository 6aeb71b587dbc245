"""What each step of the workflow is told: the slice of the config it depends on, and nothing else.

A rule carries the recipe of its job as a parameter and hands it over as JSON, so that a job cannot
depend on a setting whose change would not re-run it.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from prdit.config import (
    Array,
    Backbone,
    Critic,
    Dicom,
    Entry,
    Grid,
    Model,
    Nifti,
    Npz,
    Phantom,
    PRDiT,
    Sampler,
    Shown,
    Split,
    Window,
)


class PhantomRecipe(Entry):
    """Subjects first, first + 1, ... of a population."""

    source: Phantom
    first: int
    count: int


class FetchRecipe(Entry):
    """Series first, first + 1, ... of a manifest."""

    manifest: str
    manifest_sha256: str
    """Read by nobody: another manifest re-runs."""
    endpoints: list[str]
    first: int
    count: int


class RecordRecipe(Entry):
    """A record of Zenodo, and how many scans it holds."""

    url: str
    record: int
    scans: int


class DownloadRecipe(Entry):
    """Scans first, first + 1, ... of the list of a record."""

    url: str
    record: int
    first: int
    count: int


class FolderRecipe(Entry):
    """Some of what lies below a folder."""

    source: Dicom | Nifti | Npz = Field(discriminator="kind")
    units: list[str]
    """Folders with DICOM files, or image or array files, relative to the source's folder."""
    listing_sha256: str
    """Of names, sizes and times of their files, and of the table of patients: changes re-run."""


class PreprocessRecipe(Entry):
    """The cube that scans are resampled to, and what bare arrays do not say of themselves."""

    grid: Grid
    array: Array | None


class LedgerRecipe(Entry):
    """How many series there are if that is known before, and how patients are split."""

    series: int | None
    split: Split
    max_excluded: float


class PackRecipe(Entry):
    """Windowed, pooled volumes of one size."""

    size: int
    window: Window


class TrainRecipe(Entry):
    """One training of one model."""

    model: Model
    size: int
    base: Model | None = None
    """The model of another kind that it builds on, if it does."""


class SampleRecipe(Entry):
    """Samples first, first + 1, ... of a seed."""

    sampler: Sampler
    seed: int = Field(ge=0)
    first: int = Field(ge=0)
    count: int = Field(ge=1)


class TimeRecipe(Entry):
    """How often one volume is drawn, of what, as it is called in tables."""

    dataset: str
    size: int
    model: str
    name: str
    """Of the sampler."""
    sampler: Sampler
    repeats: int = Field(ge=1)


class FeaturesRecipe(Entry):
    """The network that features are taken with, and a second one beside it."""

    network: Backbone
    beside: Backbone | None


class ScoreRecipe(Entry):
    """Of what the score is, as it is called in tables, and the size of both sets."""

    dataset: str
    size: int
    model: str
    sampler: str
    seed: int
    reference: int = Field(ge=2)
    volumes: int = Field(ge=2)


class CriticRecipe(Entry):
    """Two models' samples, as they are called in tables, and the critic between them."""

    dataset: str
    size: int
    seed: int
    """Of the samples."""
    models: list[tuple[str, str]] = Field(min_length=2, max_length=2)
    """Model and sampler of each."""
    critic: Critic


class ShownData(Entry):
    """A data set as tables show it."""

    label: str
    published: str | None
    """Its key among the published numbers."""
    papers: bool
    """Whether its scans are those of the paper."""


class TableRecipe(Entry):
    """What a table shows."""

    table: str
    datasets: dict[str, ShownData]
    rows: list[Shown]
    seeds: list[int]
    anchor: Shown | None = None
    """The row that W-scores are ratios to."""
    critics: list[int] = Field(default=[])
    trainings: dict[str, list[tuple[int, str]]] = Field(default={})
    """Size and model of each training that a row builds on, by its label; its own is last."""


class SettingsRecipe(Entry):
    """Every PRDiT that Table 1 shows, on each of its data sets, and what it starts from."""

    models: list[PRDiT]


class QualityRecipe(Entry):
    """A data set's label, and the cube of its volumes."""

    dataset: str
    grid: Grid


class FigureRecipe(Entry):
    """What a figure shows: a row of real volumes, then one per set of samples, so labelled."""

    figure: str
    dataset: str
    rows: list[str]


class BranchesRecipe(Entry):
    """A model whose branches are drawn, by a sampler, as they are called in the figure."""

    dataset: str
    model: str
    sampler: Sampler


class CavitiesRecipe(Entry):
    """A data set's label."""

    dataset: str


class ProvenanceRecipe(Entry):
    """All of a run's config."""

    config: dict[str, Any]


class SiteRecipe(Entry):
    """What the report is called, and what its parts are."""

    name: str
    cards: dict[str, list[tuple[str, int, str, str, int]]]
    """By table: data set, size, model, sampler and seed of each set of scores."""
    reals: list[str]
    """What sets of real volumes are called."""
    samples: list[str]
    """What sets of samples are called."""
