"""What each step of the workflow is told: the slice of the config it depends on, and nothing else.

A rule carries the recipe of its job as a parameter and hands it over as JSON, so that a job cannot
depend on a setting whose change would not re-run it.
"""

from __future__ import annotations

from pydantic import Field

from prdit.config import (
    Entry,
    Grid,
    Model,
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
    first: int
    count: int


class PreprocessRecipe(Entry):
    """The cube that scans are resampled to."""

    grid: Grid


class LedgerRecipe(Entry):
    """How many series there are, and how patients are split."""

    series: int
    split: Split


class PackRecipe(Entry):
    """Windowed, pooled volumes of one size."""

    size: int
    window: Window


class TrainRecipe(Entry):
    """One training of one model."""

    model: Model
    size: int
    base: PRDiT | None = None
    """The model at the beginning of its chain of start_from, if it has one."""


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
    """The network that features are taken with."""

    network: str
    weights: str | None


class ScoreRecipe(Entry):
    """Of what the score is, as it is called in tables, and the size of both sets."""

    dataset: str
    size: int
    model: str
    sampler: str
    seed: int
    reference: int
    volumes: int


class TableRecipe(Entry):
    """What a table shows."""

    table: str
    datasets: dict[str, tuple[str, str | None]]
    """Label of each data set, and its key among the published numbers."""
    rows: list[Shown]
    seeds: list[int]
    floor: str
    """The "model" of scores of real against other real volumes."""


class FigureRecipe(Entry):
    """What a figure shows: a row of real volumes, then one per set of samples, so labelled."""

    dataset: str
    rows: list[str]
