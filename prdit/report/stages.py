"""What each rule of the workflow cost, from what Snakemake measured of its jobs."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from prdit.errors import UserError
from prdit.files import atomic, damaged
from prdit.report.figures import save

DRAWN = 12
"""Rules, of those that took longest."""


def run(*, benchmarks: Path, table: Path, figure: Path) -> None:
    """Write a row per rule, and draw those that took longest.

    Columns are `jobs`, `hours` (walls, summed), `cpu_hours` and `memory_gib` (of the largest job).
    A job counts with the attempt that succeeded, as Snakemake measures it.

    Args:
        benchmarks: folder of <rule>.tsv and <rule>/**.tsv.

    Raises:
        UserError: there are none, or a file is no benchmark.
    """
    found = pd.DataFrame(_jobs(benchmarks))
    if found.empty:
        raise UserError(f"{benchmarks}: no benchmarks; run the workflow first")
    rules = found.groupby("rule").agg(
        jobs=("hours", "size"),
        hours=("hours", "sum"),
        cpu_hours=("cpu_hours", "sum"),
        memory_gib=("memory_gib", "max"),
    )
    rules = rules.sort_values("hours", ascending=False)
    with atomic(table) as partial:
        rules.to_csv(partial)
    save(_bars(rules.head(DRAWN)), figure)


def _jobs(folder: Path) -> list[dict[str, object]]:
    return [
        {"rule": path.relative_to(folder).parts[0].removesuffix(".tsv"), **measured(path)}
        for path in sorted(folder.rglob("*.tsv"))
    ]


def measured(path: Path) -> dict[str, float]:
    """What Snakemake measured of a job: `hours`, `cpu_hours`, `memory_gib`; nan where it could not.

    Raises:
        UserError: the file is no benchmark.
    """
    try:
        (one,) = pd.read_csv(path, sep="\t", na_values=["-"]).to_dict("records")
        return {
            "hours": float(one["s"]) / 3600,
            "cpu_hours": float(one["cpu_time"]) / 3600,
            "memory_gib": float(one["max_rss"]) / 1024,
        }
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, f"no benchmark ({error})") from None


def _bars(rules: pd.DataFrame) -> Figure:
    drawing, axis = plt.subplots(figsize=(7, 0.22 * len(rules) + 0.8), layout="constrained")
    axis.barh(rules.index, rules["hours"] * 60, color="#4477aa")
    for place, (jobs, hours) in enumerate(zip(rules["jobs"], rules["hours"], strict=True)):
        axis.text(hours * 60, place, f"  {_time(hours)}, {jobs} jobs", va="center", fontsize=7)
    axis.invert_yaxis()
    axis.margins(x=0.25, y=0.01)
    axis.set_xlabel("minutes of all jobs, summed")
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    return drawing


def _time(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"
