"""What trainings cost: from the records of all of them, one tidy file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from prdit.config import Shown
from prdit.files import atomic, read_json
from prdit.recipes import TableRecipe
from prdit.report.columns import COSTS, HOURS

COLUMNS = [
    *("dataset", "size", "model", "status", "hours", "device", "processes"),
    *("volumes", "parameters", "trained_parameters", "memory_gib"),
]
"""`hours` of every process, summed, over all attempts: GPU hours if the device is one."""


def run(*, records: list[Path], table: Path) -> None:
    """Write what `gathered` gathers as CSV."""
    with atomic(table) as partial:
        gathered(records).to_csv(partial, index=False)


def gathered(records: list[Path]) -> pd.DataFrame:
    """A row for each training.

    Args:
        records: run.json in folders <data set>/<size>/<model>.
    """
    frame = pd.DataFrame([_row(path) for path in sorted(records)], columns=COLUMNS)
    return frame.astype({"hours": float})  # None is nan


def _row(path: Path) -> dict[str, Any]:
    found = read_json(path, "status")
    dataset, size, model = path.parts[-4:-1]
    seconds = found.get("seconds")
    return {
        **{name: found.get(name) for name in COLUMNS},
        "dataset": dataset,
        "size": int(size),
        "model": model,
        "hours": None if seconds is None else seconds / 3600,
    }


def cost(costs: pd.DataFrame, recipe: TableRecipe, dataset: str, row: Shown) -> dict[str, Any]:
    """Hours of training, of what the table counts; nothing where the table tells of none."""
    way = COSTS.get(recipe.table)
    if way is None:
        return {}
    counted = [t for t in recipe.trainings.get(row.label, []) if way == "chain" or t[0] == row.size]
    its = costs[costs["dataset"] == dataset].set_index(["size", "model"])
    found = its.loc[counted] if counted else its.iloc[:0]
    known = len(found) > 0 and found["status"].eq("ok").all()
    return {
        HOURS.name: float(found["hours"].sum()) if known else None,
        "trained on": ", ".join(sorted(found["device"].dropna().unique())),
    }
