"""Table 11: every row against every other, and the paper's numbers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from prdit.recipes import TableRecipe
from prdit.report.critics import DOUBTS, between, log_ratio_cells, unsure
from prdit.report.published import of_dataset, pairs


def pairwise(recipe: TableRecipe, critics: pd.DataFrame, values: Any) -> list[dict[str, Any]]:
    """A row per data set and label of Table 11, a column per label, the paper's beside each."""
    found = []
    for dataset, about in recipe.datasets.items():
        paper = pairs(of_dataset(values, about.published))
        for row in recipe.rows:
            cells: dict[str, Any] = {
                "Data set": about.label,
                "Row": row.label,
                "size": f"{row.size}^3",
            }
            cells |= log_ratio_cells(critics, recipe, dataset, row)
            others = [one for one in recipe.rows if one != row]
            asked = [between(critics, recipe, dataset, row, one) for one in others]
            cells |= {DOUBTS[1]: sum(map(unsure, asked))}
            for column in recipe.rows:
                mean, std = paper.get((row.label, column.label), (None, None))
                cells |= {f"paper {column.label}": mean, f"paper {column.label} std": std}
            found.append(cells)
    return found
