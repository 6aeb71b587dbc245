"""What tables and figures show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, NamedTuple

from pydantic import Discriminator, Field, Tag

from prdit.config.entry import Entry, Name


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


class Figures(Entry):
    """Slice figures to make: axial, coronal and sagittal, real beside generated."""

    depths: Selection | None = Field(None, description="As Figures 4 and 12: one row per model.")
    predictor_steps: Selection | None = Field(None, description="As Figures 7 to 9: one row per k.")
    samplers: Selection | None = Field(None, description="As Figure 10: noise-only samplers.")
    components: Selection | None = Field(None, description="The ablations of Table 4.")
    rivals: Selection | None = Field(None, description="As Figure 5.")
    rivals_high_resolution: Selection | None = Field(None, description="As Figure 14.")
    high_resolution: Selection | None = Field(None, description="As Figure 11.")
