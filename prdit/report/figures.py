"""Slices of volumes side by side: real above generated, three views."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

import matplotlib
import numpy as np

from prdit.data.samples import read_samples
from prdit.data.store import open_store
from prdit.data.volume import from_window
from prdit.files import atomic
from prdit.recipes import FigureRecipe

matplotlib.use("Agg")  # here, for all that save figures: no job has a screen

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

VIEWS = ("axial", "coronal", "sagittal")
OF_FIGURE = {
    "figure_4": ("axial",),
    "figure_5": ("sagittal",),
    "figure_7": ("axial",),
    "figure_8": ("coronal",),
    "figure_9": ("sagittal",),
}
"""Views of the figures that do not show all three, as in the paper."""
COLUMNS = 12
"""Slices in a row, over all views."""
LABEL = 18
"""Characters in a line of a row's label."""
DOTS_PER_INCH = 300
BAR_MM = 100


def run(recipe: FigureRecipe, *, real: Path, cards: list[Path], figure: Path) -> None:
    """Draw a row of real volumes and one for each set of samples.

    Args:
        real: the store's .npy file.
        cards: the first card of each set, in the order of the recipe's rows.
    """
    views = OF_FIGURE.get(recipe.figure, VIEWS)
    shown = COLUMNS // len(views)
    store = open_store(real)
    held_out = [i for i, part in enumerate(store.parts) if part == "held-out"][:shown]
    rows = [[from_window(store.volume(i), *store.window) for i in held_out]]
    rows += [[volume.hu for volume in read_samples(card, shown)] for card in cards]
    names = [f"Real\n{recipe.dataset}", *recipe.rows]
    told = [
        name if row else f"{name}\nout of memory" for name, row in zip(names, rows, strict=True)
    ]
    save(draw(rows, told, views, store.window, store.spacing_mm), figure)


def save(drawing: Figure, path: Path, dots: int = DOTS_PER_INCH) -> None:
    """Write a figure of so many dots per inch, the same bytes for the same content."""
    with atomic(path) as partial:
        drawing.savefig(partial, format=path.suffix[1:], dpi=dots, metadata={"Software": None})
    plt.close(drawing)


def draw(
    rows: list[list[np.ndarray]],
    names: list[str],
    views: Sequence[str],
    window: tuple[float, float],
    spacing_mm: float,
    note: str = "Volumes of a column do not compare.",
) -> Figure:
    """Slices of HU volumes [S, S, S]: a line per row, a group of columns per view."""
    shown = COLUMNS // len(views)
    figure = plt.figure(figsize=(COLUMNS + 1.4, len(rows) + 0.6), layout="constrained")
    widths = [1.2, *[shown] * len(views)]
    label, *panels = np.asarray(figure.subfigures(1, len(widths), width_ratios=widths)).flat
    for view, panel in zip(views, panels, strict=True):
        panel.suptitle(view, fontsize=11)
        for line, volumes in zip(blank(panel, len(rows), shown), rows, strict=True):
            for axis, hu in zip(line, volumes, strict=False):
                axis.imshow(slice_of(hu, view), cmap="gray", vmin=window[0], vmax=window[1])
    label.suptitle(" ", fontsize=11)
    for (axis,), name in zip(blank(label, len(rows), 1), names, strict=True):
        lines = [part for line in name.split("\n") for part in wrap(line, LABEL)]
        axis.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", fontsize=9)
    scale_bar(panels[0].axes[-shown], spacing_mm, len(rows[0][0]))
    figure.supxlabel(f"{scale(window, spacing_mm)} {note}", fontsize=8)
    return figure


def scale(window: tuple[float, float], spacing_mm: float) -> str:
    """What greys and lengths of a figure mean."""
    low, high = window
    return f"HU window [{low:g}, {high:g}], {spacing_mm:g} mm voxels, bar {BAR_MM} mm."


def blank(panel: SubFigure, lines: int, columns: int) -> np.ndarray:
    """Axes [lines, columns] without ticks or frames."""
    axes: np.ndarray = panel.subplots(lines, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    return axes


def slice_of(hu: np.ndarray, view: str) -> np.ndarray:
    """A slice of [z, y, x] as radiologists look at it: head up, the patient's right at left.

    Axial and coronal ones are the middle; the sagittal one goes through the right lung.
    """
    n = hu.shape[0]
    match view:
        case "axial":
            return hu[n // 2]
        case "coronal":
            return hu[::-1, n // 2]
        case _:
            return hu[::-1, :, n // 3]


def scale_bar(axis: Axes, spacing_mm: float, size: int) -> None:
    """A white bar of 100 mm at the lower left of a slice."""
    length = BAR_MM / spacing_mm
    axis.plot([0.5, 0.5 + length], [0.93 * size] * 2, color="white", linewidth=2)
