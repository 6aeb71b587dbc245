"""Losses of every training over the volumes it saw, as far as its log tells."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from prdit.files import taken_from
from prdit.report.figures import save

COLUMNS = 4
HELD_OUT = "#ee7733"
CURVES = {"loss": "#4477aa", "validation_loss": HELD_OUT, "validation_likeness": HELD_OUT}
"""What logs tell, and its colour."""


def run(*, histories: list[Path], figure: Path) -> None:
    """Draw a small panel for each training.

    Args:
        histories: training.jsonl in folders <data set>/<size>/<model>.
    """
    lines = -(-len(histories) // COLUMNS)
    drawing, axes = plt.subplots(
        lines, COLUMNS, figsize=(3 * COLUMNS, 2 * lines + 0.5), layout="constrained", squeeze=False
    )
    for axis in axes.flat[len(histories) :]:
        axis.set_axis_off()
    for axis, path in zip(axes.flat, sorted(histories), strict=False):
        dataset, size, model = path.parts[-4:-1]
        axis.set_title(f"{model}, {dataset} {size}^3", fontsize=8)
        axis.tick_params(which="both", labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
        panel(axis, path)
    drawing.supxlabel(
        "volumes seen; blue: loss of the training, orange: on held-out patients", fontsize=9
    )
    save(drawing, figure)


def panel(axis: Axes, path: Path) -> None:
    """One training: its loss, and that on held-out volumes if there is one."""
    with taken_from(path):
        told = [json.loads(line) for line in path.read_text().splitlines()]
        drawn = [curve(axis, told, name, colour) for name, colour in CURVES.items()]
    if any(drawn):
        axis.set_yscale("log")
    else:
        axis.set_axis_off()  # too large to train, or trained elsewhere


def curve(axis: Axes, told: list[dict[str, float]], name: str, colour: str) -> bool:
    """Draw a loss if the log tells of it."""
    points = [(line["volumes"], line[name]) for line in told if line.get(name) is not None]
    if points:
        x, y = np.array(points, float).T
        axis.plot(x, y, color=colour, linewidth=1)
    return bool(points)
