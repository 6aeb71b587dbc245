"""The paper's tables as selections of the scores, the paper's numbers beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from prdit.config import Shown
from prdit.config.selections import PAIRWISE, TIMES
from prdit.errors import UserError
from prdit.files import atomic
from prdit.recipes import ShownData, TableRecipe
from prdit.report import verdict
from prdit.report.captions import CAPTIONS, note
from prdit.report.columns import (
    COSTS,
    HOURS,
    PAPERS_SIZE,
    SECONDS,
    W_SCORE,
    Column,
    beside,
    columns_of,
)
from prdit.report.costs import gathered as spendings
from prdit.report.critics import DOUBTS, between, ratios, summary, unsure
from prdit.report.critics import gathered as judgements
from prdit.report.latex import in_latex
from prdit.report.markdown import DIFFERS, in_markdown
from prdit.report.pairwise import pairwise
from prdit.report.scores import gathered
from prdit.report.verdict import OOM

MADE_FROM = ("network", "beside_network", "reference", "volumes", "cohort")
"""What two rows of a data set have in common if their scores compare."""


def run(
    recipe: TableRecipe,
    *,
    scores: list[Path],
    critics: list[Path],
    records: list[Path],
    published: Path,
    csv: Path,
    markdown: Path,
    latex: Path,
) -> None:
    """Write one table as CSV (plain numbers), and as the paper prints it, in Markdown and LaTeX.

    Args:
        scores: score files of its rows and of real against real, or timings.
        critics: score files of its critics.
        records: run.json of the trainings that its rows build on.
        published: the paper's numbers.
    """
    judged = judgements(critics)
    values = yaml.safe_load(published.read_text())[recipe.table]
    if recipe.table == PAIRWISE:
        frame = pd.DataFrame(pairwise(recipe, judged, values))
    else:
        spent = spendings(records)
        frame = pd.DataFrame(rows(recipe, gathered(scores), judged, spent, values))
    caption, below = CAPTIONS[recipe.table], note(recipe.table, frame)
    with atomic(csv) as partial:
        frame.to_csv(partial, index=False)
    with atomic(markdown) as partial:
        partial.write_text(in_markdown(frame, caption, below), encoding="utf-8")
    with atomic(latex) as partial:
        partial.write_text(in_latex(frame, caption), encoding="utf-8")


def rows(
    recipe: TableRecipe,
    scores: pd.DataFrame,
    critics: pd.DataFrame,
    costs: pd.DataFrame,
    values: Any,
) -> list[dict[str, Any]]:
    """A row per data set and label; for scores, also one per size for real against other real."""
    found, columns = [], columns_of(recipe.table)
    timed = recipe.table == TIMES
    sizes = sorted({row.size for row in recipe.rows})
    floors = [] if timed else [Shown(recipe.floor, recipe.floor, "-", n) for n in sizes]
    for dataset, about in recipe.datasets.items():
        paper = by_label(of_dataset(values, about.published))
        usual: dict[int, pd.Series] = {}
        for row in [*recipe.rows, *floors]:
            chosen = of_row(scores, recipe, dataset, row, columns)
            if chosen.empty:
                raise UserError(
                    f"no score is of {row.label} on {about.label}; let the workflow name them"
                )
            first = chosen.iloc[0]
            cells: dict[str, Any] = {
                "Data set": about.label,
                "Row": row.label,
                "size": f"{row.size}^3",
            }
            cells |= ours(chosen, columns)
            if recipe.anchor is not None:
                cells |= w_score(critics, recipe, dataset, row)
            cells |= cost(costs, recipe, dataset, row)
            cells |= theirs(paper.get(row.label) or {}, recipe.table)
            cells |= compared(cells, chosen, recipe, about, row)
            cells |= how(chosen, columns)
            if not timed:
                cells |= {DIFFERS: differs(first, usual.setdefault(row.size, first))}
            found.append(cells)
    return found


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


def of_dataset(values: dict[Any, Any], published: str | None) -> dict[Any, Any]:
    """Published rows of a data set; none of one that the paper has not, if it tells them apart."""
    return values.get(published, {}) if "lidc" in values else values


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
        if column is W_SCORE:
            mean, std = None, None  # critics tell, not scores
        elif found["oom"].any():
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


def cost(costs: pd.DataFrame, recipe: TableRecipe, dataset: str, row: Shown) -> dict[str, Any]:
    """Hours of training, of what the table counts; nothing where the table tells of none."""
    way = COSTS.get(recipe.table)
    if way is None:
        return {}
    counted = [t for t in recipe.trainings.get(row.label, []) if way == "chain" or t[0] == row.size]
    its = costs[costs["dataset"] == dataset].set_index(["size", "model"])
    found = its.loc[counted] if counted else its.iloc[:0]
    known = len(found) > 0 and found["status"].eq("ok").all()
    return {
        HOURS.name: float(found["hours"].sum()) if known else None,
        "trained on": ", ".join(sorted(found["device"].dropna().unique())),
    }


def theirs(paper: dict[str, Any], table: str) -> dict[str, Any]:
    """The paper's cells: a number, a mean with its deviation, or a word such as OOM."""
    cells: dict[str, Any] = {}
    for column in [*columns_of(table), *([HOURS] if table in COSTS else [])]:
        value = paper.get(column.key)
        mean, std = value if isinstance(value, list) else (value, None)
        cells |= {f"paper {column.name}": mean, f"paper {column.name} std": std}
    return cells


def compared(
    cells: dict[str, Any], chosen: pd.DataFrame, recipe: TableRecipe, about: ShownData, row: Shown
) -> dict[str, Any]:
    """Ours less the paper's, and whether that is reproduced; nothing of what does not compare."""
    table = recipe.table
    size = PAPERS_SIZE.get(table, 128)
    reasons = verdict.unlike(
        chosen.iloc[0], papers_data=about.papers, size=row.size, papers_size=size
    )
    found: dict[str, Any] = {}
    words = []
    for column in columns_of(table):
        its = chosen[chosen["metric"] == column.metric]
        known = len(its) > 0 and its["low"].notna().all()
        limits = [column.scale * its[name].mean() for name in ("low", "high")]
        interval = (limits[0], limits[1]) if known else None
        others = [*reasons, *(verdict.other_anchor(recipe.anchor) if column is W_SCORE else [])]
        word = verdict.verdict(cells, column.name, interval, others)
        differs = verdict.difference(cells[column.name], cells[f"paper {column.name}"])
        differs = None if others else differs
        found |= {f"difference {column.name}": differs, f"verdict {column.name}": word}
        words.append(word)
    word = verdict.overall(words)
    told = [*reasons, *(verdict.other_anchor(recipe.anchor) if "W-score" in cells else [])]
    because = "; ".join(told) if verdict.NOT_COMPARABLE in words else ""
    return {**found, "verdict": word, "because": because}


def how(chosen: pd.DataFrame, columns: list[Column]) -> dict[str, Any]:
    """What stands beside the paper's columns, and what the numbers were made from."""
    first = chosen.iloc[0]
    if columns == [SECONDS]:
        return {"timings": len(chosen), "device": first["device"], "precision": first["precision"]}
    second = bool(chosen["beside_network"].notna().any())
    return ours(chosen, beside(columns[0], second=second)) | {
        "seeds": chosen["seed"].nunique(),
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
