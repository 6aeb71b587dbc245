"""The samples that are nearest to a training volume, each above it, for a person to judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

from prdit.data.store import open_store
from prdit.data.volume import from_window, read_nifti
from prdit.files import atomic, read_json
from prdit.report.figures import slice_of

matplotlib.use("Agg")

import matplotlib.pyplot as plt

SHOWN = 6


def run(*, scores: list[Path], real: Path, figure: Path) -> None:
    """Draw the closest pairs of all sets of samples of one data set and size.

    Args:
        scores: with the closest pairs of each set.
        real: the store's .npy file.
    """
    store = open_store(real)
    places = {series: i for i, series in enumerate(store.series)}
    found = sorted(pair for path in scores for pair in closest(read_json(path, "card")))[:SHOWN]
    drawing, axes = plt.subplots(
        2, SHOWN, figsize=(2 * SHOWN, 4.9), layout="constrained", squeeze=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for (ratio, name, series, sampled), (above, below) in zip(found, axes.T, strict=False):
        low, high = store.window
        training = from_window(store.volume(places[series]), low, high)
        for axis, hu in ((above, read_nifti(Path(sampled)).hu), (below, training)):
            axis.imshow(slice_of(hu, "coronal"), cmap="gray", vmin=low, vmax=high)
        above.set_title(f"{name}\n{ratio:.2f} of the threshold", fontsize=8)
        below.set_title(f"training {series[-12:]}", fontsize=8)
    drawing.supxlabel(
        "Above: samples; below: the training volume nearest to each, as it lies or flipped. Below 1"
        " lie 5 % of unseen real volumes, too.",
        fontsize=8,
    )
    with atomic(figure) as partial:
        drawing.savefig(partial, format="png", dpi=150, metadata={"Software": None})
    plt.close(drawing)


def closest(score: dict[str, Any]) -> list[tuple[float, str, str, str]]:
    """(distance in thresholds, model, series, file of the sample) of the closest pairs of a set."""
    name = f"{score['model']}, {score['sampler']}"
    threshold = score.get("threshold", 1.0)
    return [
        (distance / threshold, name, series, sampled)
        for sampled, series, distance in score.get("closest", [])
    ]
