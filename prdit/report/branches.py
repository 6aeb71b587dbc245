"""Figure 15: the Local Denoiser's coarse estimate, the Global DiT's residual, and their sum."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prdit.data.volume import from_window
from prdit.files import damaged
from prdit.recipes import BranchesRecipe
from prdit.report.figures import VIEWS, draw, save


def run(recipe: BranchesRecipe, *, volumes: Path, figure: Path) -> None:
    """Draw a row for each part, and one for their sum; of a residual, grey is 0."""
    try:
        with np.load(volumes, allow_pickle=False) as file:
            local, residual = file["local"], file["residual"]
            low, high = map(float, file["window"])
            spacing_mm = float(file["spacing_mm"])
    except (OSError, ValueError, KeyError) as error:
        raise damaged(volumes, str(error)) from None
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
