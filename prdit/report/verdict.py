"""Whether a number of the paper was reproduced, as far as two numbers can tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from prdit.config import Shown
from prdit.recipes import ShownData, TableRecipe
from prdit.report.columns import OOM, SECONDS, W_SCORE, Column, columns_of

REPRODUCED, NOT_REPRODUCED, NOT_COMPARABLE = "reproduced", "not reproduced", "not comparable"
PAPERS_NETWORK = "MedicalNet resnet50, resnet_50.pth"
PAPERS_VOLUMES = 1000
PAPERS_ANCHOR = "PRDiT-12L"
PAPERS_DEVICE = "A100"
PAPERS_SIZE = {"table_2": 256, "table_8": 256}
"""Edge of the volumes of a table in the paper, where it is not 128."""
WINDOWS = ((-1000.0, 400.0), (-1000.0, 1000.0))
"""In HU, of both readings, paper.yaml and released.yaml: the paper itself gives no numbers."""
SHARE = 0.1
"""Of the paper's value that ours may differ by, where neither has a spread."""


def compared(
    cells: dict[str, Any], chosen: pd.DataFrame, recipe: TableRecipe, about: ShownData, row: Shown
) -> dict[str, Any]:
    """Ours less the paper's, and whether that is reproduced; nothing of what does not compare.

    Args:
        cells: of the row, ours and the paper's.
        chosen: the scores that ours are made from.
    """
    size = PAPERS_SIZE.get(recipe.table, 128)
    common = [] if about.papers else ["other data"]
    common += [] if row.size == size else [f"{row.size}^3 voxels instead of {size}^3"]
    found: dict[str, Any] = {}
    words, because = [], []
    for column in columns_of(recipe.table):
        reasons = [*common, *unlike(chosen.iloc[0], column, recipe.anchor)]
        word = verdict(cells, column.name, half_width(chosen, column), reasons)
        word = "" if column is W_SCORE and row == recipe.anchor else word  # 1 for whatever it drew
        less = None if reasons else difference(cells[column.name], cells[f"paper {column.name}"])
        found |= {f"difference {column.name}": less, f"verdict {column.name}": word}
        words.append(word)
        because += reasons if word == NOT_COMPARABLE else []
    told = "; ".join(dict.fromkeys(because))
    return {**found, "verdict": overall(words), "because": told}


def unlike(first: pd.Series, column: Column, anchor: Shown | None) -> list[str]:
    """Why a column of numbers does not compare with the paper's, for how they were made.

    Args:
        first: a row of scores.csv.
        anchor: the row that W-scores are ratios to.
    """
    if column is SECONDS:
        device = str(first["device"])
        return [] if PAPERS_DEVICE in device else [f"{device} instead of an A100"]
    found = []
    if column is W_SCORE:  # critics see neither features nor the volumes of the reference
        if anchor is not None and anchor.label != PAPERS_ANCHOR:
            found.append(f"W-scores as ratios to {anchor.label} instead of {PAPERS_ANCHOR}")
    elif first["network"] != PAPERS_NETWORK:
        found.append("another feature network")
    if not first["oom"]:
        for name in ("volumes",) if column is W_SCORE else ("volumes", "reference"):
            if first[name] != PAPERS_VOLUMES:
                found.append(f"{first[name]:g} instead of 1,000 volumes ({name})")
        low, high = first["window"]
        if (low, high) not in WINDOWS:
            found.append(f"HU window {low:g} to {high:g} instead of -1000 to 400")
    return found


def half_width(chosen: pd.DataFrame, column: Column) -> float:
    """Half of our interval of 95 %, the mean over seeds; 0 without one."""
    its = chosen[chosen["metric"] == column.metric]
    half = column.scale * (its["high"] - its["low"]).mean(skipna=False) / 2
    return 0.0 if math.isnan(half) else float(half)


def difference(ours: Any, papers: Any) -> float | None:
    """Ours less the paper's; None unless both are numbers."""
    if not all(isinstance(one, (int, float)) and math.isfinite(one) for one in (ours, papers)):
        return None
    return float(ours) - float(papers)


def verdict(cells: Mapping[str, Any], column: str, half: float, reasons: list[str]) -> str:
    """A word on a column of a row; empty where there is nothing to compare.

    Reproduced: within twice the combined deviations over seeds, or half the width of our interval,
    whichever is larger; where there are neither, within 10 % of the paper's value.
    """
    ours, papers = cells.get(column), cells.get(f"paper {column}")
    if _nothing(ours) or _nothing(papers):
        return ""
    if reasons:
        return NOT_COMPARABLE
    if OOM in (ours, papers):
        return REPRODUCED if ours == papers else NOT_REPRODUCED
    spreads = [cells.get(f"{column} std"), cells.get(f"paper {column} std")]
    spread = 2 * math.hypot(*(0.0 if _nothing(one) else float(one) for one in spreads))  # type: ignore[arg-type]
    allowed = max(spread, half) or SHARE * abs(float(papers))  # type: ignore[arg-type]
    return REPRODUCED if abs(difference(ours, papers) or 0.0) <= allowed else NOT_REPRODUCED


def _nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def overall(verdicts: list[str]) -> str:
    """A word on a row: reproduced only if all of it that compares is."""
    for word in (NOT_REPRODUCED, REPRODUCED, NOT_COMPARABLE):
        if word in verdicts:
            return word
    return ""
