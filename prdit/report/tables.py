"""The paper's tables as selections of the scores, the paper's numbers beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from prdit.files import atomic
from prdit.recipes import TableRecipe

FID, MMD = "FID x10^3", "MMD"


def run(recipe: TableRecipe, *, scores: Path, published: Path, csv: Path, markdown: Path) -> None:
    """Write one table as CSV (plain numbers) and Markdown (as the paper prints them)."""
    all_scores = pd.read_csv(scores)
    values = yaml.safe_load(published.read_text())[recipe.table]
    rows = {"table_1": table_1, "table_4": table_4}[recipe.table](recipe, all_scores, values)
    frame = pd.DataFrame(rows)
    with atomic(csv) as partial:
        frame.to_csv(partial, index=False)
    with atomic(markdown) as partial:
        partial.write_text(in_markdown(frame, CAPTIONS[recipe.table]))


def table_1(recipe: TableRecipe, scores: pd.DataFrame, values: Any) -> list[dict[str, Any]]:
    """A row per data set and model, and one for real volumes against other real ones."""
    rows = []
    for dataset in recipe.selection.datasets:
        paper = values.get(recipe.published[dataset], {})
        for model in [*recipe.selection.models, recipe.floor]:
            about = {"Data set": recipe.labels[dataset], "Model": model}
            samplers = ["-"] if model == recipe.floor else recipe.selection.samplers
            for sampler in samplers:
                found = chosen(scores, recipe, dataset, model, sampler)
                rows.append(about | ours(found) | theirs(paper.get(model)) | how(found))
    return rows


def table_4(recipe: TableRecipe, scores: pd.DataFrame, values: Any) -> list[dict[str, Any]]:
    """The right half: a row per predictor step k."""
    rows = []
    for dataset in recipe.selection.datasets:
        for model in recipe.selection.models:
            for sampler in recipe.selection.samplers:
                k = recipe.k[sampler]
                about = {"Data set": recipe.labels[dataset], "Model": model, "k": k}
                paper = values["predictor_steps_k"].get(int(k) if k.is_integer() else k)
                found = chosen(scores, recipe, dataset, model, sampler)
                rows.append(about | ours(found) | theirs(paper) | how(found))
    return rows


def chosen(
    scores: pd.DataFrame, recipe: TableRecipe, dataset: str, model: str, sampler: str
) -> pd.DataFrame:
    """The scores of one row of a table, over its seeds."""
    wanted = {"dataset": dataset, "size": recipe.selection.size, "model": model, "sampler": sampler}
    rows = scores
    for key, value in wanted.items():
        rows = rows[rows[key] == value]
    return rows if model == recipe.floor else rows[rows["seed"].isin(recipe.selection.seeds)]


def ours(found: pd.DataFrame) -> dict[str, Any]:
    """Mean and standard deviation over seeds; no deviation of a single seed."""
    cells: dict[str, Any] = {}
    for name, metric, scale in ((FID, "fid", 1e3), (MMD, "mmd", 1.0)):
        values = scale * found.loc[found["metric"] == metric, "value"]
        cells |= {name: values.mean(), f"{name} std": values.std() if len(values) > 1 else None}
    return cells


def theirs(paper: Any) -> dict[str, Any]:
    """The paper's cells, which may be a number or a mean with its deviation."""
    cells: dict[str, Any] = {}
    for name, key in ((FID, "fid_e3"), (MMD, "mmd")):
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
    return f"| {' | '.join(cells)} |"


def cell(value: Any, std: Any, column: str) -> str:
    """A table cell: numbers rounded as in the paper, nothing as a dash."""
    if not isinstance(value, float) or column == "k":
        return f"{value:g}" if isinstance(value, float) else str(value)
    if pd.isna(value):
        return "-"
    digits = 2 if FID in column else 4
    spread = "" if std is None or pd.isna(std) else f" ± {std:.{digits}f}"
    return f"{value:.{digits}f}{spread}"


CAPTIONS = {
    "table_1": "**Table 1.** Unconditional generation. 3D FID x10^3 and MMD, lower is better;"
    " mean ± standard deviation over sampling seeds. Real data: real volumes against other real"
    " ones, the best that can be expected of so many volumes.",
    "table_4": "**Table 4 (right).** Predictor steps k; k = 1 is cold sampling.",
}
