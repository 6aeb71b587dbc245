"""W-scores (A.9.3, A.10): how many times farther from real volumes one model is than another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prdit.config import Shown
from prdit.files import atomic, read_json
from prdit.recipes import TableRecipe

KEYS = ["dataset", "size", "seed", "model", "sampler", "critic"]
COLUMNS = [*KEYS[:-1], "rival", "rival_sampler", "critic", "distance", "rival_distance", "held_out"]


def run(*, critics: list[Path], table: Path) -> None:
    """Gather what all critics found: a row for each, none where a model was out of memory."""
    frame = pd.DataFrame([_row(path) for path in sorted(critics)], columns=COLUMNS)
    with atomic(table) as partial:
        frame.to_csv(partial, index=False)


def _row(path: Path) -> dict[str, Any]:
    found = read_json(path, "dataset", "size", "seed", "models", "critic", "distances")
    (model, sampler), (rival, rival_sampler) = found["models"]
    distance, rival_distance = found["distances"] or (None, None)
    return {
        **{key: found[key] for key in ("dataset", "size", "seed", "critic")},
        "model": model,
        "sampler": sampler,
        "rival": rival,
        "rival_sampler": rival_sampler,
        "distance": distance,
        "rival_distance": rival_distance,
        "held_out": " ".join(map(str, found.get("held_out", []))),
    }


def ratios(
    critics: pd.DataFrame, recipe: TableRecipe, dataset: str, row: Shown, to: Shown
) -> np.ndarray:
    """W(row) / W(to) (Eq. 11) by each critic between them, nan where a distance is not positive.

    A critic that finds a model nearer to real volumes than real ones are tells nothing: dividing by
    what it found would give any number at all.
    """
    if (row.model, row.sampler) == (to.model, to.sampler):
        return np.ones(len(recipe.critics))
    of_table = critics[
        (critics["dataset"] == dataset)
        & (critics["size"] == row.size)
        & (critics["seed"] == recipe.seeds[0])
        & critics["critic"].isin(recipe.critics)
    ]
    straight, turned = _between(of_table, row, to), _between(of_table, to, row)[:, ::-1]
    its, others = np.concatenate([straight, turned]).T
    valid = (its > 0) & (others > 0)
    return np.where(valid, its, np.nan) / np.where(valid, others, np.nan)


def _between(critics: pd.DataFrame, first: Shown, second: Shown) -> np.ndarray:
    """Distances of first and second [n, 2], from critics whose pair is in this order."""
    chosen = critics[
        (critics["model"] == first.model)
        & (critics["sampler"] == first.sampler)
        & (critics["rival"] == second.model)
        & (critics["rival_sampler"] == second.sampler)
    ]
    return chosen[["distance", "rival_distance"]].to_numpy(float)


def summary(values: np.ndarray) -> tuple[float, float | None, int]:
    """Mean and standard deviation of those that tell something, and how many do not."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return float("nan"), None, len(values)
    spread = float(known.std(ddof=1)) if len(known) > 1 else None
    return float(known.mean()), spread, len(values) - len(known)


def log_ratio_cells(
    critics: pd.DataFrame, recipe: TableRecipe, dataset: str, row: Shown
) -> dict[str, Any]:
    """Cells of a row of Table 11: ln(W(column) / W(row)), over all critics between the two.

    Positive: the row's model is nearer to real volumes. Anti-symmetric, since both cells of a pair
    come from the same critics.
    """
    cells: dict[str, Any] = {}
    for column in recipe.rows:
        mean, std, _ = summary(np.log(ratios(critics, recipe, dataset, column, row)))
        cells |= {column.label: mean, f"{column.label} std": std}
    return cells
