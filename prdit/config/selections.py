"""What tables and figures show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, NamedTuple

from pydantic import Discriminator, Field, Tag

from prdit.config.entry import Entry, Name

TIMES = "table_6"
"""The table that shows seconds per volume, not scores."""
PAIRWISE = "table_11"
"""The table of W-scores of every pair of rows."""
FLOOR = "Real data"
"""The row, and the "model" of scores, of real volumes against other real ones."""


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
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        default=[0], min_length=1, description="Of sampling."
    )
    rows: Annotated[
        Annotated[list[Name], Field(min_length=1), Tag("models")]
        | Annotated[dict[str, Row], Field(min_length=1), Tag("labelled")],
        Discriminator(lambda rows: "labelled" if isinstance(rows, Mapping) else "models"),
    ] = Field(description="Models; or by label: model, and sampler and size if they differ.")

    anchor: str | None = Field(
        None, description="Label of the row that the W-scores of the others are ratios to."
    )
    critics: list[Annotated[int, Field(ge=0)]] = Field(
        default=[0, 1, 2], min_length=1, description="Seeds of the critics of W-scores."
    )

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
    table_6: Selection | None = Field(None, description="Seconds per volume, one at a time.")
    table_7: Selection | None = Field(None, description="As Table 3; the paper prints it twice.")
    table_8: Selection | None = Field(None, description="Frozen against fine-tuned base.")
    table_11: Selection | None = Field(None, description="W-scores of every pair of rows.")


class RealShown(Entry):
    """Real volumes alone."""

    datasets: list[Name] = Field(min_length=1)
    size: int = Field(ge=8, description="Edge of the volumes in voxels.")


class BranchesShown(RealShown):
    """What the two branches of a model add up from."""

    model: Name
    sampler: Name


class Figures(Entry):
    """Figures of the paper to make, by their numbers: slices of real and generated volumes."""

    figure_4: Selection | None = Field(None, description="Depths, axial.")
    figure_5: Selection | None = Field(None, description="Against rivals, sagittal.")
    figure_6: RealShown | None = Field(None, description="Cavities of air in real volumes.")
    figure_7: Selection | None = Field(None, description="Predictor steps k, axial.")
    figure_8: Selection | None = Field(None, description="Predictor steps k, coronal.")
    figure_9: Selection | None = Field(None, description="Predictor steps k, sagittal.")
    figure_10: Selection | None = Field(None, description="Noise-only samplers.")
    figure_11: Selection | None = Field(None, description="Base frozen against fine-tuned.")
    figure_12: Selection | None = Field(None, description="Depths, three views.")
    figure_13: Selection | None = Field(None, description="As Figure 12, for the other data set.")
    figure_14: Selection | None = Field(None, description="Against rivals, highest resolution.")
    figure_15: BranchesShown | None = Field(None, description="Local estimate and residual.")
    components: Selection | None = Field(None, description="The ablations of Table 4; ours.")
