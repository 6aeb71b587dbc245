"""What trainings cost: from the records of all of them, one tidy file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from prdit.files import atomic, read_json

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
