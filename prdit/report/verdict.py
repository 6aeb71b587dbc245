"""Whether a number of the paper was reproduced, as far as two numbers can tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from prdit.config import Shown

REPRODUCED, NOT_REPRODUCED, NOT_COMPARABLE = "reproduced", "not reproduced", "not comparable"
OOM = "OOM"
"""Of a model that was too large to train, as in the paper."""
PAPERS_NETWORK = "MedicalNet resnet50, resnet_50.pth"
PAPERS_VOLUMES = 1000
PAPERS_ANCHOR = "PRDiT-12L"
PAPERS_DEVICE = "A100"
SHARE = 0.1
"""Of the paper's value that ours may differ by, where neither has a spread."""


def unlike(first: pd.Series, *, papers_data: bool, size: int, papers_size: int) -> list[str]:
    """Why numbers like those of a row of scores do not compare with the paper's.

    Args:
        first: a row of scores.csv.
        papers_data: whether the volumes are of the paper's data set.
    """
    found = [] if papers_data else ["other data"]
    if size != papers_size:
        found.append(f"{size}^3 voxels instead of {papers_size}^3")
    if first["metric"] == "seconds":
        device = str(first["device"])
        return [*found, *([] if PAPERS_DEVICE in device else [f"{device} instead of an A100"])]
    if first["network"] != PAPERS_NETWORK:
        found.append("another feature network")
    for name in ("volumes", "reference"):
        if first[name] != PAPERS_VOLUMES and not first["oom"]:
            found.append(f"{first[name]:g} instead of 1,000 volumes ({name})")
    return found


def other_anchor(anchor: Shown | None) -> list[str]:
    """Why W-scores do not compare with the paper's: they are ratios to another row."""
    if anchor is None or anchor.label == PAPERS_ANCHOR:
        return []
    return [f"W-scores as ratios to {anchor.label} instead of {PAPERS_ANCHOR}"]


def difference(ours: Any, papers: Any) -> float | None:
    """Ours less the paper's; None unless both are numbers."""
    if not all(isinstance(one, (int, float)) and math.isfinite(one) for one in (ours, papers)):
        return None
    return float(ours) - float(papers)


def verdict(
    cells: Mapping[str, Any], column: str, interval: tuple[float, float] | None, reasons: list[str]
) -> str:
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
    half = (interval[1] - interval[0]) / 2 if interval else 0.0
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
