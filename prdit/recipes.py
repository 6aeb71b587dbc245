"""What each step of the workflow is told: the slice of the config it depends on, and nothing else.

A rule carries the recipe of its job as a parameter and hands it over as JSON, so that a job cannot
depend on a setting whose change would not re-run it.
"""

from __future__ import annotations

from prdit.config import (
    Entry,
    Grid,
    Phantom,
    PRDiT,
    Sampler,
    Selection,
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
    first: int
    count: int


class PreprocessRecipe(Entry):
    """The cube that scans are resampled to."""

    grid: Grid


class LedgerRecipe(Entry):
    """How patients are split."""

    split: Split


class PackRecipe(Entry):
    """Windowed, pooled volumes of one size."""

    size: int
    window: Window


class TrainRecipe(Entry):
    """One training of one model."""

    model: PRDiT
    size: int


class SampleRecipe(Entry):
    """Samples first, first + 1, ... of a seed."""

    sampler: Sampler
    seed: int
    first: int
    count: int


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
    selection: Selection
    labels: dict[str, str]
    published: dict[str, str | None]
    k: dict[str, float]
    floor: str


class FigureRecipe(Entry):
    """What a figure shows: a row of real volumes, then one per set of samples, as named here."""

    dataset: str
    size: int
    rows: list[str]
