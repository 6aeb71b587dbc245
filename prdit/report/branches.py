"""Figure 15: the Local Denoiser's coarse estimate, the Global DiT's residual, and their sum."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prdit.data.volume import from_window
from prdit.files import read_npz, taken_from
from prdit.recipes import BranchesRecipe
from prdit.report.figures import VIEWS, draw, save


def run(recipe: BranchesRecipe, *, volumes: Path, figure: Path) -> None:
    """Draw a row for each part, and one for their sum; of a residual, grey is 0."""
    file = read_npz(volumes, "local", "residual", "window", "spacing_mm")
    local, residual = file["local"], file["residual"]
    with taken_from(volumes):
        low, high = map(float, file["window"])
        spacing_mm = float(file["spacing_mm"])
    parts = {
        "Local Denoiser's\nestimate": local,
        "Global DiT's\nresidual": residual,
        f"their sum\n({recipe.model})": local + residual,
    }
    rows = [
        [from_window(np.clip(one, -1, 1), low, high) for one in part] for part in parts.values()
    ]
    note = f"{recipe.dataset}; a column is one volume, at the model's last call."
    save(draw(rows, list(parts), VIEWS, (low, high), spacing_mm, note), figure)
