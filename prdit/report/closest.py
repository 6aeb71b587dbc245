"""The samples that are nearest to a training volume, each above it, for a person to judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from prdit.data.store import open_store
from prdit.data.volume import from_window, read_nifti
from prdit.errors import UserError
from prdit.files import read_json, taken_from
from prdit.report.figures import save, slice_of

SHOWN = 6


def run(*, scores: list[Path], real: Path, figure: Path) -> None:
    """Draw the closest pairs of all sets of samples of one data set and size.

    Args:
        scores: with the closest pairs of each set.
        real: the store's .npy file.
    """
    store = open_store(real)
    places = {series: i for i, series in enumerate(store.series)}
    pairs: list[tuple[float, str, dict[str, Any]]] = []
    for path in scores:
        with taken_from(path):
            pairs += closest(read_json(path, "card"))
    found = sorted(pairs, key=lambda pair: pair[0])[:SHOWN]
    drawing, axes = plt.subplots(
        2, SHOWN, figsize=(2 * SHOWN, 4.9), layout="constrained", squeeze=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for (ratio, name, pair), (above, below) in zip(found, axes.T, strict=False):
        low, high = store.window
        series, sampled, flipped = pair["series"], pair["sample"], pair["flipped"]
        if series not in places:
            raise UserError(
                f"{real} does not hold series {series}, which a sample is nearest to; score anew"
            )
        training = from_window(store.volume(places[series]), low, high)
        if flipped:
            training = np.flip(training, "zyx".index(flipped))
        for axis, hu in ((above, read_nifti(Path(sampled)).hu), (below, training)):
            axis.imshow(slice_of(hu, "coronal"), cmap="gray", vmin=low, vmax=high)
        above.set_title(f"{name}\n{ratio:.2f} of the threshold", fontsize=8)
        how = f", flipped along {flipped}" if flipped else ""
        below.set_title(f"training {series[-12:]}{how}", fontsize=8)
    drawing.supxlabel(
        "Above: the samples nearest to a training volume; below: that volume. The threshold is a"
        " distance that some unseen real volumes fall below, too: near is not yet a copy.",
        fontsize=8,
    )
    save(drawing, figure)


def closest(score: dict[str, Any]) -> list[tuple[float, str, dict[str, Any]]]:
    """(distance in thresholds, model, the pair) of the closest pairs of a set."""
    name = f"{score['model']}, {score['sampler']}"
    threshold = score.get("threshold") or 1.0
    return [(pair["distance"] / threshold, name, pair) for pair in score.get("closest", [])]
