"""The paper's tables as selections of the scores, the paper's numbers beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from prdit.config import Shown
from prdit.files import atomic
from prdit.recipes import TableRecipe
from prdit.report.captions import CAPTIONS, note
from prdit.report.critics import between, log_ratio_cells, ratios, summary, unsure
from prdit.report.markdown import DIFFERS, in_markdown

OOM = "OOM"
"""Of a model that was too large to train, as in the paper."""
MADE_FROM = ("network", "beside_network", "reference", "volumes", "cohort")
"""What two rows of a data set have in common if their scores compare."""


class Column(NamedTuple):
    """What a table shows of a row."""

    name: str
    metric: str
    scale: float
    key: str
    """Of the paper's value."""


SECONDS = Column("seconds per volume", "seconds", 1.0, "seconds")
DOUBTS = ("critics without a ratio", "critics not told from 0")
W_SCORE = Column("W-score", "w_score", 1.0, "w_score")


def run(
    recipe: TableRecipe,
    *,
    scores: Path,
    critics: Path,
    published: Path,
    csv: Path,
    markdown: Path,
) -> None:
    """Write one table as CSV (plain numbers) and Markdown (as the paper prints them)."""
    judged = pd.read_csv(critics)
    values = yaml.safe_load(published.read_text())[recipe.table]
    if recipe.table == "table_11":
        frame = pd.DataFrame(pairwise(recipe, judged, values))
    else:
        frame = pd.DataFrame(rows(recipe, pd.read_csv(scores), judged, values))
    text = in_markdown(frame, CAPTIONS[recipe.table], note(recipe.table, frame))
    with atomic(csv) as partial:
        frame.to_csv(partial, index=False)
    with atomic(markdown) as partial:
        partial.write_text(text)


def rows(
    recipe: TableRecipe, scores: pd.DataFrame, critics: pd.DataFrame, values: Any
) -> list[dict[str, Any]]:
    """A row per data set and label; for scores, also one per size for real against other real."""
    found, columns = [], columns_of(recipe)
    timed = recipe.table == "table_6"
    sizes = sorted({row.size for row in recipe.rows})
    floors = [] if timed else [Shown(recipe.floor, recipe.floor, "-", n) for n in sizes]
    for dataset, (name, key) in recipe.datasets.items():
        paper = by_label(values.get(key, values))
        usual: dict[int, pd.Series] = {}
        for row in [*recipe.rows, *floors]:
            chosen = of_row(scores, recipe, dataset, row, columns)
            cells: dict[str, Any] = {"Data set": name, "Row": row.label, "size": f"{row.size}^3"}
            cells |= ours(chosen, columns)
            if recipe.anchor is not None:
                cells |= w_score(critics, recipe, dataset, row)
            cells |= theirs(paper.get(row.label) or {}, columns)
            cells |= ({} if timed else ours(chosen, beside(columns[0], chosen))) | how(chosen)
            first = chosen.iloc[0]
            cells |= {} if timed else {DIFFERS: differs(first, usual.setdefault(row.size, first))}
            found.append(cells)
    return found


def columns_of(recipe: TableRecipe) -> list[Column]:
    """The columns of a table; FID is in units of 10^-3 in the paper, in Table 5 of 10^-2."""
    if recipe.table == "table_6":
        return [SECONDS]
    unit = 2 if recipe.table == "table_5" else 3
    fid = Column(f"FID x10^{unit}", "fid", 10**unit, f"fid_e{unit}")
    return [fid, Column("MMD", "mmd", 1.0, "mmd")]


def beside(fid: Column, found: pd.DataFrame) -> list[Column]:
    """What every table of scores shows beside the paper's columns, in units of its FID."""
    unit = fid.name.removeprefix("FID")
    second = [
        Column(f"FID, 2nd network{unit}", "fid_beside", fid.scale, ""),
        Column("MMD, 2nd network", "mmd_beside", 1.0, ""),
    ]
    return [
        *(second if found["beside_network"].notna().any() else []),
        Column(f"FID train{unit}", "fid_train", fid.scale, ""),
        Column(f"FID held-out{unit}", "fid_held_out", fid.scale, ""),
        Column("copies per 1,000", "copies", 1.0, ""),
        Column("by chance", "copies_by_chance", 1.0, ""),
    ]


def of_row(
    scores: pd.DataFrame, recipe: TableRecipe, dataset: str, row: Shown, columns: list[Column]
) -> pd.DataFrame:
    """The values of one row of a table, over its seeds; of times, over all repetitions."""
    wanted = {"dataset": dataset, "size": row.size, "model": row.model, "sampler": row.sampler}
    for key, value in wanted.items():
        scores = scores[scores[key] == value]
    scores = scores[(scores["metric"] == SECONDS.metric) == (columns == [SECONDS])]
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


def w_score(critics: pd.DataFrame, recipe: TableRecipe, dataset: str, row: Shown) -> dict[str, Any]:
    """Mean and deviation of a row's W-score, and how many critics had nothing to tell."""
    name = W_SCORE.name
    if row.model == recipe.floor or recipe.anchor is None:
        return {name: None, f"{name} std": None, **dict.fromkeys(DOUBTS)}
    asked = between(critics, recipe, dataset, row, recipe.anchor)
    mean, std, without = summary(ratios(critics, recipe, dataset, row, recipe.anchor))
    cell = OOM if len(asked) and asked["distance"].isna().all() else mean
    return {
        name: cell,
        f"{name} std": std,
        **dict(zip(DOUBTS, (without, unsure(asked)), strict=True)),
    }


def theirs(paper: dict[str, Any], columns: list[Column]) -> dict[str, Any]:
    """The paper's cells: a number, a mean with its deviation, or a word such as OOM."""
    cells: dict[str, Any] = {}
    for column in columns if "w_score" not in paper else [*columns, W_SCORE]:
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
        "2nd network": first["beside_network"],
    }


def differs(mine: pd.Series, usual: pd.Series) -> str:
    """In what a row's scores were made unlike those of the data set's first row; empty if alike."""
    if mine["oom"] or usual["oom"]:
        return ""
    other = [key for key in MADE_FROM if str(mine[key]) != str(usual[key])]  # nothing is no number
    return ", ".join(f"{key} {_plain(mine[key])} instead of {_plain(usual[key])}" for key in other)


def _plain(value: Any) -> str:
    """A number without what reading a table has put behind it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def pairwise(recipe: TableRecipe, critics: pd.DataFrame, values: Any) -> list[dict[str, Any]]:
    """A row per data set and label of Table 11, a column per label, the paper's beside each."""
    found = []
    for dataset, (name, key) in recipe.datasets.items():
        paper = published_pairs(values) if key == "lidc" else {}
        for row in recipe.rows:
            cells: dict[str, Any] = {"Data set": name, "Row": row.label, "size": f"{row.size}^3"}
            cells |= log_ratio_cells(critics, recipe, dataset, row)
            others = [one for one in recipe.rows if one != row]
            asked = [between(critics, recipe, dataset, row, one) for one in others]
            cells |= {DOUBTS[1]: sum(map(unsure, asked))}
            for column in recipe.rows:
                mean, std = paper.get((row.label, column.label), (None, None))
                cells |= {f"paper {column.label}": mean, f"paper {column.label} std": std}
            found.append(cells)
    return found


def published_pairs(values: Any) -> dict[tuple[str, str], tuple[float, float]]:
    """The paper's Table 11 by (row, column): mean and standard deviation."""
    return {
        (row, column): (float(cell[0]), float(cell[1]))
        for row, cells in values["rows"].items()
        for column, cell in zip(values["order"], cells, strict=True)
    }
