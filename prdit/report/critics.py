"""W-scores (A.9.3, A.10): how many times farther from real volumes one model is than another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prdit.config import Shown
from prdit.config.selections import FLOOR
from prdit.files import atomic, read_json, taken_from
from prdit.recipes import TableRecipe
from prdit.report.columns import OOM, W_SCORE

MODELS = ["model", "sampler", "rival", "rival_sampler"]
DISTANCES = ["distance", "low", "high", "rival_distance", "rival_low", "rival_high"]
DOUBTS = ("critics without a ratio", "critics not told from 0")
"""Columns of tables that say how far W-scores are to be trusted."""
COLUMNS = ["dataset", "size", "seed", *MODELS, "critic", *DISTANCES, "held_out"]


def run(*, critics: list[Path], table: Path) -> None:
    """Write what `gathered` gathers as CSV."""
    with atomic(table) as partial:
        gathered(critics).to_csv(partial, index=False)


def gathered(critics: list[Path]) -> pd.DataFrame:
    """What critics found: a row for each; no distances where a model was out of memory."""
    frame = pd.DataFrame([_row(path) for path in sorted(critics)], columns=COLUMNS)
    return frame.astype(dict.fromkeys(DISTANCES, float))  # None is nan


def _row(path: Path) -> dict[str, Any]:
    found = read_json(path, "dataset", "size", "seed", "models", "critic", "distances")
    with taken_from(path):
        ((low, high), (rival_low, rival_high)) = found.get("intervals") or [(None, None)] * 2
        distance, rival_distance = found["distances"] or (None, None)
        names = dict(zip(MODELS, [name for one in found["models"] for name in one], strict=True))
    values = (distance, low, high, rival_distance, rival_low, rival_high)
    return {
        **{key: found[key] for key in ("dataset", "size", "seed", "critic")},
        **names,
        **dict(zip(DISTANCES, values, strict=True)),
        "held_out": " ".join(map(str, found.get("held_out", []))),
    }


def between(
    critics: pd.DataFrame, recipe: TableRecipe, dataset: str, row: Shown, other: Shown
) -> pd.DataFrame:
    """What the table's critics found of two rows' models: `distance` is of the first."""
    of_table = critics[
        (critics["dataset"] == dataset)
        & (critics["size"] == row.size)
        & (critics["seed"] == recipe.seeds[0])
        & critics["critic"].isin(recipe.critics)
    ]
    straight, turned = (
        of_table[
            (of_table["model"] == first.model)
            & (of_table["sampler"] == first.sampler)
            & (of_table["rival"] == second.model)
            & (of_table["rival_sampler"] == second.sampler)
        ]
        for first, second in ((row, other), (other, row))
    )
    named = dict(zip(DISTANCES, DISTANCES[3:] + DISTANCES[:3], strict=True))
    return pd.concat([straight, turned.rename(columns=named)])[["critic", *DISTANCES]]


def ratios(
    critics: pd.DataFrame, recipe: TableRecipe, dataset: str, row: Shown, to: Shown
) -> np.ndarray:
    """W(row) / W(to) (Eq. 11) by each critic between them, nan where a distance is not positive.

    A critic that finds a model nearer to real volumes than real ones are tells nothing: dividing by
    what it found would give any number at all.
    """
    if (row.model, row.sampler) == (to.model, to.sampler):
        return np.ones(len(recipe.critics))
    asked = between(critics, recipe, dataset, row, to)
    its, others = (asked[name].to_numpy(float) for name in ("distance", "rival_distance"))
    valid = (its > 0) & (others > 0)
    return np.where(valid, its, np.nan) / np.where(valid, others, np.nan)


def unsure(asked: pd.DataFrame) -> int:
    """How many critics have a distance whose interval holds 0."""
    return int(((asked["low"] <= 0) | (asked["rival_low"] <= 0)).sum())


def w_score(
    critics: pd.DataFrame,
    recipe: TableRecipe,
    dataset: str,
    row: Shown,
    anchor: Shown,
    *,
    oom: bool,
) -> dict[str, Any]:
    """Mean and deviation of a row's W-score, and how many critics had nothing to tell.

    Args:
        oom: whether the row's model lacked memory; where the anchor's did, others have no ratio.
    """
    name = W_SCORE.name
    if oom or row.model == FLOOR:
        return {name: OOM if oom else None, f"{name} std": None, **dict.fromkeys(DOUBTS)}
    asked = between(critics, recipe, dataset, row, anchor)
    mean, std, without = summary(ratios(critics, recipe, dataset, row, anchor))
    doubts = dict(zip(DOUBTS, (without, unsure(asked)), strict=True))
    return {name: mean, f"{name} std": std, **doubts}


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
