"""The paper's numbers, as config/published.yaml has them, for a row of a table."""

from __future__ import annotations

from typing import Any

from prdit.report.columns import COSTS, HOURS, columns_of


def of_dataset(values: dict[Any, Any], published: str | None) -> dict[Any, Any]:
    """What a table of the paper prints of a data set; it is LIDC-IDRI's where none is named."""
    by_data = values if "lidc" in values else {"lidc": values}
    found: dict[Any, Any] = by_data.get(published, {})
    return found


def by_label(values: dict[Any, Any]) -> dict[str, Any]:
    """Published cells by the label of their row; a number n means k = n."""
    found: dict[str, Any] = {}
    for label, cells in values.items():
        if isinstance(cells, list):
            found[label] = {"seconds": cells}
        elif any(isinstance(cell, dict) for cell in cells.values()):  # one half of a table
            found |= by_label(cells)
        else:
            found[label if isinstance(label, str) else f"k = {label:g}"] = cells
    return found


def theirs(paper: dict[str, Any], table: str) -> dict[str, Any]:
    """The paper's cells: a number, a mean with its deviation, or a word such as OOM."""
    cells: dict[str, Any] = {}
    for column in [*columns_of(table), *([HOURS] if table in COSTS else [])]:
        value = paper.get(column.key)
        mean, std = value if isinstance(value, list) else (value, None)
        cells |= {f"paper {column.name}": mean, f"paper {column.name} std": std}
    return cells


def pairs(values: dict[Any, Any]) -> dict[tuple[str, str], tuple[float, float]]:
    """The paper's Table 11 by (row, column): mean and standard deviation; empty without it."""
    return {
        (row, column): (float(cell[0]), float(cell[1]))
        for row, cells in values.get("rows", {}).items()
        for column, cell in zip(values["order"], cells, strict=True)
    }
