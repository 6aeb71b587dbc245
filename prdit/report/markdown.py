"""Tables as Markdown: numbers rounded as in the paper, each deviation beside its mean."""

from __future__ import annotations

from typing import Any

import pandas as pd

DIGITS = {
    "FID": 2,
    "copies": 0,
    "by chance": 0,
    "critics": 0,
    "density": 2,
    "coverage": 2,
    "W-score": 2,
}
"""By the beginning of a column's name; 4 for all others."""
DIFFERS = "differs"
"""Column that says why the numbers of a row do not compare with the others'."""
HIDDEN = (DIFFERS, "features", "2nd network")
"""Columns that are told below the table."""


def in_markdown(frame: pd.DataFrame, caption: str, note: str) -> str:
    """A caption, a table, and what has to be known to read it."""
    means = [c for c in frame.columns if not c.endswith(" std") and c not in HIDDEN]
    lines = [line(means), line(["---"] * len(means))]
    for _, row in frame.iterrows():
        mark = " †" if row.get(DIFFERS) else ""
        lines.append(line([cell(row[c], row.get(f"{c} std"), c, mark) for c in means]))
    return "\n".join([caption, "", *lines, "", *dagger(frame), note, ""])


def dagger(frame: pd.DataFrame) -> list[str]:
    """What † stands for, where it stands."""
    if DIFFERS not in frame or not frame[DIFFERS].any():
        return []
    reasons = sorted({reason for reason in frame[DIFFERS] if reason})
    return [f"† Does not compare with the rows above: {'; '.join(reasons)}.", ""]


def line(cells: list[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def cell(value: Any, std: Any, column: str, mark: str = "") -> str:
    """A table cell: a number with its deviation, nothing as a dash."""
    if not isinstance(value, float):
        return str(value)
    if pd.isna(value):
        return "-"
    shown = column.removeprefix("paper ")
    digits = next((n for name, n in DIGITS.items() if shown.startswith(name)), 4)
    spread = "" if std is None or pd.isna(std) else f" ± {std:.{digits}f}"
    return f"{value:.{digits}f}{spread}{'' if column.startswith('paper') else mark}"
