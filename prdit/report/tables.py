"""The paper's tables as selections of the scores, the paper's numbers beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from prdit.config import Shown
from prdit.files import atomic
from prdit.recipes import TableRecipe

OOM = "OOM"
"""Of a model that was too large to train, as in the paper."""


def run(recipe: TableRecipe, *, scores: Path, published: Path, csv: Path, markdown: Path) -> None:
    """Write one table as CSV (plain numbers) and Markdown (as the paper prints them)."""
    all_scores = pd.read_csv(scores)
    values = yaml.safe_load(published.read_text())[recipe.table]
    frame = pd.DataFrame(rows(recipe, all_scores, values))
    with atomic(csv) as partial:
        frame.to_csv(partial, index=False)
    with atomic(markdown) as partial:
        partial.write_text(in_markdown(frame, CAPTIONS[recipe.table]))


def rows(recipe: TableRecipe, scores: pd.DataFrame, values: Any) -> list[dict[str, Any]]:
    """A row per data set and label; for scores, also one per size for real against other real."""
    found, columns = [], columns_of(recipe.table)
    sizes = sorted({row.size for row in recipe.rows})
    floors = [Shown(recipe.floor, recipe.floor, "-", size) for size in sizes]
    for dataset, (name, key) in recipe.datasets.items():
        paper = by_label(values.get(key, values))
        for row in recipe.rows if columns == [SECONDS] else [*recipe.rows, *floors]:
            chosen = of_row(scores, recipe, dataset, row, columns)
            about = {"Data set": name, "Row": row.label, "size": f"{row.size}^3"}
            its = paper.get(row.label) or {}
            found.append(about | ours(chosen, columns) | theirs(its, columns) | how(chosen))
    return found


class Column(NamedTuple):
    """What a table shows of a row."""

    name: str
    metric: str
    scale: float
    key: str
    """Of the paper's value."""


def columns_of(table: str) -> list[Column]:
    """The columns of a table; FID is in units of 10^-3 in the paper, in Table 5 of 10^-2."""
    if table == "table_6":
        return [SECONDS]
    unit = 2 if table == "table_5" else 3
    fid = Column(f"FID x10^{unit}", "fid", 10**unit, f"fid_e{unit}")
    return [fid, Column("MMD", "mmd", 1.0, "mmd")]


SECONDS = Column("seconds per volume", "seconds", 1.0, "seconds")


def of_row(
    scores: pd.DataFrame, recipe: TableRecipe, dataset: str, row: Shown, columns: list[Column]
) -> pd.DataFrame:
    """The values of one row of a table, over its seeds; of times, over all repetitions."""
    wanted = {"dataset": dataset, "size": row.size, "model": row.model, "sampler": row.sampler}
    for key, value in wanted.items():
        scores = scores[scores[key] == value]
    scores = scores[scores["metric"].isin([column.metric for column in columns])]
    every = row.model == recipe.floor or columns == [SECONDS]
    return scores if every else scores[scores["seed"].isin(recipe.seeds)]


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


def ours(found: pd.DataFrame, columns: list[Column]) -> dict[str, Any]:
    """Mean and standard deviation over seeds; no deviation of a single seed."""
    cells: dict[str, Any] = {}
    for column in columns:
        values = column.scale * found.loc[found["metric"] == column.metric, "value"]
        if found["oom"].any():
            mean, std = OOM, None
        else:
            mean, std = values.mean(), values.std() if len(values) > 1 else None
        cells |= {column.name: mean, f"{column.name} std": std}
    return cells


def theirs(paper: dict[str, Any], columns: list[Column]) -> dict[str, Any]:
    """The paper's cells: a number, a mean with its deviation, or a word such as OOM."""
    cells: dict[str, Any] = {}
    for column in columns:
        value = paper.get(column.key)
        mean, std = value if isinstance(value, list) else (value, None)
        cells |= {f"paper {column.name}": mean, f"paper {column.name} std": std}
    return cells


def how(found: pd.DataFrame) -> dict[str, Any]:
    """What the numbers were made from."""
    first = found.iloc[0]
    if first["metric"] == "seconds":
        return {"volumes": len(found), "device": first["device"], "precision": first["precision"]}
    return {
        "seeds": found["seed"].nunique(),
        "volumes": int(first["volumes"]),
        "reference": int(first["reference"]),
        "features": first["network"],
    }


def in_markdown(frame: pd.DataFrame, caption: str) -> str:
    """A caption and a table in which each deviation follows its mean."""
    means = [c for c in frame.columns if not c.endswith(" std") and c != "features"]
    lines = [line(means), line(["---"] * len(means))]
    for _, row in frame.iterrows():
        lines.append(line([cell(row[c], row.get(f"{c} std"), c) for c in means]))
    return "\n".join([caption, "", *lines, "", note(frame), ""])


def note(frame: pd.DataFrame) -> str:
    """What has to be known to read the numbers."""
    if "features" not in frame:
        return "Paper: A100. Times compare on one device and in one precision alone."
    networks = ", ".join(sorted(frame["features"].unique()))
    warning = " Numbers compare with each other, **not with the paper's**."
    return f"Features: {networks}.{warning if 'not MedicalNet' in networks else ''}"


def line(cells: list[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def cell(value: Any, std: Any, column: str) -> str:
    """A table cell: numbers rounded as in the paper, nothing as a dash."""
    if not isinstance(value, float):
        return str(value)
    if pd.isna(value):
        return "-"
    digits = 2 if "FID" in column else 4
    spread = "" if std is None or pd.isna(std) else f" ± {std:.{digits}f}"
    return f"{value:.{digits}f}{spread}"


REAL = "Real data: real volumes against other real ones, the best that so many can score."
CAPTIONS = {
    "table_1": "**Table 1.** Unconditional generation. 3D FID and MMD, lower is better;"
    f" mean ± standard deviation over sampling seeds. {REAL}",
    "table_2": f"**Table 2.** Highest resolution. {REAL}",
    "table_3": f"**Table 3.** Trained from scratch, and from half the resolution. {REAL}",
    "table_4": "**Table 4.** Components of the model, and predictor steps k; k = 1 is cold"
    f" sampling. {REAL}",
    "table_5": f"**Table 5.** Samplers that use the predicted noise alone. {REAL}",
    "table_6": "**Table 6.** Seconds per volume, one at a time; mean ± standard deviation of 10.",
    "table_7": f"**Table 7.** As Table 3. {REAL}",
    "table_8": f"**Table 8.** Base frozen, and fine-tuned with its refinement. {REAL}",
}
