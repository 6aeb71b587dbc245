"""The paper's tables as selections of the scores, the paper's numbers beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from prdit.config import Shown
from prdit.files import atomic
from prdit.recipes import TableRecipe

MMD = "MMD"
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
    """A row per data set and label, and one per size for real volumes against other real ones."""
    found = []
    sizes = sorted({row.size for row in recipe.rows})
    floors = [Shown(recipe.floor, recipe.floor, "-", size) for size in sizes]
    unit = FID_UNITS.get(recipe.table, 3)
    for dataset, (name, key) in recipe.datasets.items():
        paper = by_label(values.get(key, values))
        for row in [*recipe.rows, *floors]:
            chosen = of_row(scores, recipe, dataset, row)
            about = {"Data set": name, "Row": row.label, "size": f"{row.size}^3"}
            found.append(
                about | ours(chosen, unit) | theirs(paper.get(row.label), unit) | how(chosen)
            )
    return found


def of_row(scores: pd.DataFrame, recipe: TableRecipe, dataset: str, row: Shown) -> pd.DataFrame:
    """The scores of one row of a table, over its seeds."""
    wanted = {"dataset": dataset, "size": row.size, "model": row.model, "sampler": row.sampler}
    for key, value in wanted.items():
        scores = scores[scores[key] == value]
    return scores if row.model == recipe.floor else scores[scores["seed"].isin(recipe.seeds)]


def by_label(values: dict[Any, Any]) -> dict[str, Any]:
    """Published cells by the label of their row; a number n means k = n."""
    found: dict[str, Any] = {}
    for label, cells in values.items():
        if any(isinstance(cell, dict) for cell in cells.values()):  # one half of a table
            found |= by_label(cells)
        else:
            found[label if isinstance(label, str) else f"k = {label:g}"] = cells
    return found


def ours(found: pd.DataFrame, unit: int) -> dict[str, Any]:
    """Mean and standard deviation over seeds; no deviation of a single seed."""
    cells: dict[str, Any] = {}
    for name, metric, scale in ((fid(unit), "fid", 10**unit), (MMD, "mmd", 1.0)):
        values = scale * found.loc[found["metric"] == metric, "value"]
        if found["oom"].any():
            cells |= {name: OOM, f"{name} std": None}
            continue
        cells |= {name: values.mean(), f"{name} std": values.std() if len(values) > 1 else None}
    return cells


def fid(unit: int) -> str:
    """Name of the column of FID, which the paper prints in units of 10^-unit."""
    return f"FID x10^{unit}"


def theirs(paper: Any, unit: int) -> dict[str, Any]:
    """The paper's cells: a number, a mean with its deviation, or a word such as OOM."""
    cells: dict[str, Any] = {}
    for name, key in ((fid(unit), f"fid_e{unit}"), (MMD, "mmd")):
        value = (paper or {}).get(key)
        mean, std = value if isinstance(value, list) else (value, None)
        cells |= {f"paper {name}": mean, f"paper {name} std": std}
    return cells


def how(found: pd.DataFrame) -> dict[str, Any]:
    """What the numbers were made from."""
    first = found.iloc[0]
    return {
        "seeds": found["seed"].nunique(),
        "volumes": first["volumes"],
        "reference": first["reference"],
        "features": first["network"],
    }


def in_markdown(frame: pd.DataFrame, caption: str) -> str:
    """A caption and a table in which each deviation follows its mean."""
    means = [c for c in frame.columns if not c.endswith(" std") and c != "features"]
    lines = [line(means), line(["---"] * len(means))]
    for _, row in frame.iterrows():
        lines.append(line([cell(row[c], row.get(f"{c} std"), c) for c in means]))
    networks = ", ".join(sorted(frame["features"].unique()))
    note = f"Features: {networks}."
    if "not MedicalNet" in networks:
        note += " Numbers compare with each other, **not with the paper's**."
    return "\n".join([caption, "", *lines, "", note, ""])


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


FID_UNITS = {"table_5": 2}
"""Tables whose FID is not in units of 10^-3."""

REAL = "Real data: real volumes against other real ones, the best that so many can score."
CAPTIONS = {
    "table_1": "**Table 1.** Unconditional generation. 3D FID and MMD, lower is better;"
    f" mean ± standard deviation over sampling seeds. {REAL}",
    "table_2": f"**Table 2.** Highest resolution. {REAL}",
    "table_3": f"**Table 3.** Trained from scratch, and from half the resolution. {REAL}",
    "table_4": "**Table 4.** Components of the model, and predictor steps k; k = 1 is cold"
    f" sampling. {REAL}",
    "table_5": f"**Table 5.** Samplers that use the predicted noise alone. {REAL}",
    "table_7": f"**Table 7.** As Table 3. {REAL}",
    "table_8": f"**Table 8.** Base frozen, and fine-tuned with its refinement. {REAL}",
}
