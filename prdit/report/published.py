"""The paper's numbers, as config/published.yaml has them, for a row of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from prdit.errors import UserError
from prdit.report.columns import COSTS, HOURS, columns_of


def read(path: Path, *tables: str) -> dict[str, Any]:
    """The published numbers, of these tables at least. Raises UserError if they are not there."""
    told = "bring config/published.yaml back as the repository has it"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"cannot read {path}: {' '.join(str(error).split())}; {told}") from None
    known: dict[str, Any] = found if isinstance(found, dict) else {}
    for table in tables:
        if not isinstance(known.get(table), dict):
            raise UserError(f"{path} holds no numbers of {table}; {told}")
    return known


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
