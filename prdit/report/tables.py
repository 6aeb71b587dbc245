"""The paper's tables as selections of the scores, the paper's numbers beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from prdit.config import Shown
from prdit.config.selections import FLOOR, PAIRWISE, TIMES
from prdit.errors import UserError
from prdit.files import atomic
from prdit.recipes import TableRecipe
from prdit.report.captions import CAPTIONS, note
from prdit.report.columns import OOM, SECONDS, W_SCORE, Column, beside, columns_of
from prdit.report.costs import cost
from prdit.report.costs import gathered as spendings
from prdit.report.critics import gathered as judgements
from prdit.report.critics import w_score
from prdit.report.latex import in_latex
from prdit.report.markdown import DIFFERS, in_markdown
from prdit.report.pairwise import pairwise
from prdit.report.published import by_label, of_dataset, read, theirs
from prdit.report.scores import gathered
from prdit.report.verdict import compared

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
    values = read(published, recipe.table)[recipe.table]
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
    floors = [] if timed else [Shown(FLOOR, FLOOR, "-", n) for n in sizes]
    for dataset, about in recipe.datasets.items():
        paper = by_label(of_dataset(values, about.published))
        usual: dict[int, pd.Series] = {}
        for row in [*recipe.rows, *floors]:
            chosen = of_row(scores, recipe, dataset, row)
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
                oom = bool(first["oom"])
                cells |= w_score(critics, recipe, dataset, row, recipe.anchor, oom=oom)
            cells |= cost(costs, recipe, dataset, row)
            cells |= theirs(paper.get(row.label) or {}, recipe.table)
            cells |= compared(cells, chosen, recipe, about, row)
            cells |= how(chosen, recipe.table)
            if not timed:
                cells |= {DIFFERS: differs(first, usual.setdefault(row.size, first))}
            found.append(cells)
    return found


def of_row(scores: pd.DataFrame, recipe: TableRecipe, dataset: str, row: Shown) -> pd.DataFrame:
    """The values of one row of a table, over its seeds; of times, over all repetitions."""
    wanted = {"dataset": dataset, "size": row.size, "model": row.model, "sampler": row.sampler}
    for key, value in wanted.items():
        scores = scores[scores[key] == value]
    timed = recipe.table == TIMES
    scores = scores[(scores["metric"] == SECONDS.metric) == timed]
    return scores if timed or row.model == FLOOR else scores[scores["seed"].isin(recipe.seeds)]


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


def how(chosen: pd.DataFrame, table: str) -> dict[str, Any]:
    """What stands beside the paper's columns, and what the numbers were made from."""
    first = chosen.iloc[0]
    if table == TIMES:
        return {"timings": len(chosen), "device": first["device"], "precision": first["precision"]}
    second = bool(chosen["beside_network"].notna().any())
    return ours(chosen, beside(columns_of(table)[0], second=second)) | {
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
