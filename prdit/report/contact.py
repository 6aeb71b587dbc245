"""Contact sheets: every volume of a collection in three views, for a person to see what is odd."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from prdit.report.figures import VIEWS, slice_of

COLUMNS, LINES = 5, 8
EDGE = 96
"""Pixels of a view's edge."""
LABEL = 18
GAP = 6
WINDOW = (-1350.0, 150.0)
"""Radiologists' lung window, whatever the config's is: the sheet is for eyes."""


class Tile(NamedTuple):
    """One volume on a sheet."""

    label: str
    hu: np.ndarray
    """[S, S, S]."""


def sheets(tiles: Iterable[Tile]) -> Iterator[Image.Image]:
    """One picture for every 40 volumes, in order."""
    waiting = iter(tiles)
    while some := list(islice(waiting, COLUMNS * LINES)):
        yield _sheet(some)


def _sheet(tiles: Sequence[Tile]) -> Image.Image:
    wide, high = 3 * EDGE + GAP, EDGE + LABEL + GAP
    columns = min(COLUMNS, len(tiles))
    lines = -(-len(tiles) // columns)
    sheet = Image.new("L", (columns * wide + GAP, lines * high + GAP), 255)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for i, tile in enumerate(tiles):
        left, top = GAP + i % columns * wide, GAP + i // columns * high
        draw.text((left, top), tile.label, fill=0, font=font)
        sheet.paste(Image.fromarray(views(tile.hu)), (left, top + LABEL))
    return sheet


def views(hu: np.ndarray) -> np.ndarray:
    """uint8 [EDGE, 3 EDGE]: axial, coronal and sagittal slice, the head up."""
    index = np.arange(EDGE) * hu.shape[0] // EDGE
    slices = [slice_of(hu, view)[np.ix_(index, index)] for view in VIEWS]
    side_by_side = np.concatenate(slices, axis=1)
    low, high = WINDOW
    return np.clip((side_by_side - low) / (high - low) * 255, 0, 255).astype(np.uint8)
