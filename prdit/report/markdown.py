"""Tables as Markdown: numbers rounded as in the paper, each deviation beside its mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from prdit.config.selections import FLOOR

DIGITS = {
    "FID": 2,
    "copies": 0,
    "by chance": 0,
    "critics": 0,
    "W-score": 2,
    "training hours": 2,
}
"""By the beginning of a column's name; 4 for all others."""
KEYS = ["Data set", "Row", "size"]
LOWER = ("FID", "MMD", "W-score", "seconds", "training hours")
"""Beginnings of names of columns whose lower numbers are better."""
SCORES = ("FID", "MMD", "W-score", "copies", "by chance")
"""Beginnings of names of columns whose numbers compare only if they were made alike."""
DIFFERS = "differs"
"""Column that says why the numbers of a row do not compare with the others'."""
TOLD_BELOW = (DIFFERS, "features", "2nd network", "because")
"""Columns that are told below the table."""


def in_markdown(frame: pd.DataFrame, caption: str, note: str) -> str:
    """A caption, our numbers beside the paper's, what stands beside them, and how to read it."""
    columns, bold = shown_columns(frame), best(frame)
    papers = [f"paper {c}" for c in columns if f"paper {c}" in frame]
    differences = [f"difference {c}" for c in columns if f"difference {c}" in frame]
    verdicts = ["verdict"] if "verdict" in frame else []
    main = [*columns, *papers, *differences, *verdicts]
    other = [c for c in frame if c not in (*main, *TOLD_BELOW) and not c.startswith("verdict ")]
    other = [c for c in other if not c.endswith(" std")]
    parts = [caption, "", *lines(frame, main, bold), "", *because(frame), *dagger(frame)]
    if other:
        parts += ["Beside and behind these numbers:", ""]
        parts += [*lines(frame, [*KEYS, *other], set()), ""]
    return "\n".join([*parts, note, ""])


def shown_columns(frame: pd.DataFrame) -> list[str]:
    """What a row is called, and our numbers that the paper has too."""
    return [*KEYS, *(c for c in frame if f"paper {c}" in frame and not c.endswith(" std"))]


def lines(frame: pd.DataFrame, columns: Sequence[str], bold: set[tuple[Any, str]]) -> list[str]:
    """Some columns of a table."""
    found = [line([heading(c) for c in columns]), line(["---"] * len(columns))]
    for number, row in frame.iterrows():
        cells = [f"**{cell(row, c)}**" if (number, c) in bold else cell(row, c) for c in columns]
        found.append(line(cells))
    return found


def heading(column: str) -> str:
    """A column's name, with an arrow where lower is better."""
    return f"{column} ↓" if column.startswith(LOWER) else column


def best(frame: pd.DataFrame) -> set[tuple[Any, str]]:
    """(row, column) of the lowest numbers of each data set and size, if there are others."""
    found = set()
    for _, its in frame[frame["Row"] != FLOOR].groupby(["Data set", "size"], sort=False):
        for column in (c for c in shown_columns(frame) if c.startswith(LOWER)):
            values = pd.to_numeric(its[column], errors="coerce").dropna()
            if len(values) > 1:
                found |= {(number, column) for number in values.index[values == values.min()]}
    return found


def because(frame: pd.DataFrame) -> list[str]:
    """Why numbers do not compare with the paper's, where they do not."""
    if "because" not in frame or not frame["because"].any():
        return []
    told = [reason for one in frame["because"] if one for reason in str(one).split("; ")]
    reasons = list(dict.fromkeys(told))
    return [f"Not comparable with the paper: {'; '.join(reasons)}.", ""]


def dagger(frame: pd.DataFrame) -> list[str]:
    """What † stands for, where it stands."""
    if DIFFERS not in frame or not frame[DIFFERS].any():
        return []
    reasons = sorted({reason for reason in frame[DIFFERS] if reason})
    return [f"† Does not compare with the rows above: {'; '.join(reasons)}.", ""]


def networks(frame: pd.DataFrame) -> str:
    """The feature networks of a table's numbers."""
    found = {
        heading: ", ".join(sorted(frame[column].dropna().unique()))
        for heading, column in (("Features", "features"), ("2nd network", "2nd network"))
        if column in frame
    }
    return "; ".join(f"{heading}: {names}" for heading, names in found.items() if names) + "."


def line(cells: list[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def cell(row: pd.Series, column: str) -> str:
    """A table cell: a number with its deviation, nothing as a dash."""
    value, std = row[column], row.get(f"{column} std")
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "-"
    if not isinstance(value, float):
        return str(value) or "-"
    shown = column.removeprefix("paper ").removeprefix("difference ")
    digits = next((n for name, n in DIGITS.items() if shown.startswith(name)), 4)
    spread = "" if std is None or pd.isna(std) else f" ± {std:.{digits}f}"
    mark = " †" if column.startswith(SCORES) and row.get(DIFFERS) else ""
    sign = "+" if column.startswith("difference ") else ""
    return f"{value:{sign}.{digits}f}{spread}{mark}"
