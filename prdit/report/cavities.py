"""Figure 6: naturally dark cavities of air in real volumes, boxed."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy import ndimage

from prdit.data.store import Store, open_store
from prdit.data.volume import from_window
from prdit.recipes import CavitiesRecipe
from prdit.report.figures import blank, save, scale, scale_bar

AIR_HU, TISSUE_HU = -950.0, -500.0
LEAST_MM2 = 100.0
"""Area of a cavity in the slice that is worth a box."""
SHOWN, COLUMNS = 8, 4
RED = "#d55e00"
"""Told apart from grey by the colour-blind too."""


def run(recipe: CavitiesRecipe, *, real: Path, figure: Path) -> None:
    """Draw the sagittal slice with most air, of the first volumes that have such air."""
    store = open_store(real)
    found = []
    for number in range(len(store.series)):
        hu = from_window(store.volume(number), *store.window)
        place, boxes = cavities(hu, store.spacing_mm)
        if boxes:
            found.append((store.series[number], hu[:, :, place], boxes))
        if len(found) == SHOWN:
            break
    save(draw(found, recipe.dataset, store), figure)


def cavities(hu: np.ndarray, spacing_mm: float) -> tuple[int, list[tuple[slice, slice]]]:
    """The sagittal slice of hu [S, S, S] with most air inside the body, and where it lies there.

    Air around the body, and what is joined to it, does not count.
    """
    body = np.stack([ndimage.binary_fill_holes(one) for one in hu > TISSUE_HU])
    inside = body & (hu < AIR_HU)
    place = int(inside.sum(axis=(0, 1)).argmax())
    parts, count = ndimage.label(inside[:, :, place])
    areas = ndimage.sum_labels(np.ones_like(parts), parts, range(1, count + 1)) * spacing_mm**2
    boxes = ndimage.find_objects(parts)
    kept = [(area, box) for area, box in zip(areas, boxes, strict=True) if area >= LEAST_MM2]
    return place, [box for _, box in sorted(kept, key=lambda one: -one[0])[:3]]


def draw(
    found: list[tuple[str, np.ndarray, list[tuple[slice, slice]]]], dataset: str, store: Store
) -> Figure:
    """Slices [z, y] head up, each with its scan's id and boxes."""
    lines = max(1, -(-len(found) // COLUMNS))
    figure = plt.figure(figsize=(3 * COLUMNS, 3.2 * lines + 0.6), layout="constrained")
    (panel,) = np.asarray(figure.subfigures(1, 1, squeeze=False)).flat
    axes = list(blank(panel, lines, COLUMNS).flat)
    low, high = store.window
    for axis, (series, image, boxes) in zip(axes, found, strict=False):
        axis.imshow(image, cmap="gray", vmin=low, vmax=high, origin="lower")
        axis.text(
            0.02,
            0.97,
            f"…{series[-16:]}",
            transform=axis.transAxes,
            va="top",
            color="white",
            fontsize=7,
        )
        for rows, columns in boxes:
            corner = (columns.start - 1, rows.start - 1)
            width, height = (one.stop - one.start + 1 for one in (columns, rows))
            axis.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=RED))
    if found:
        scale_bar(axes[0], store.spacing_mm, 2)
    some = f"{len(found)} volumes of {dataset}" if found else f"no such cavity in {dataset}"
    figure.supxlabel(
        f"{some}: air (below {AIR_HU:g} HU) inside the body, boxed; sagittal."
        f" {scale(store.window, store.spacing_mm)}",
        fontsize=8,
    )
    return figure
