"""Every score of a run in one table, with intervals: the paper's metrics and those beside them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from prdit.files import atomic
from prdit.report.frames import read_frame
from prdit.report.markdown import line, networks
from prdit.report.scores import CARD, COLUMNS

KEYS = ["dataset", "size", "model", "sampler"]
SIZES = ["volumes", "reference"]
SHOWN = {
    "fid": "FID",
    "mmd": "MMD",
    "fid_beside": "FID, 2nd network",
    "mmd_beside": "MMD, 2nd network",
    "mmd_unbiased": "MMD², unbiased",
    "kid": "KID",
    "density": "density",
    "coverage": "coverage",
    "fid_train": "FID train",
    "fid_held_out": "FID held-out",
    "copies": "copies per 1,000",
    "copies_by_chance": "by chance",
}
CAPTION = (
    "Every set of samples by every metric, mean over sampling seeds; in brackets, where scores of"
    " 95 % of other draws of as many volumes would lie: by bootstrap, of KID by blocks. That small"
    " sets make FID and MMD larger is not in them, so compare rows with equal numbers of volumes"
    " alone. Lower is better, but for density (1 for real data) and coverage (compare with real"
    " data)."
)


def run(*, scores: Path, markdown: Path) -> None:
    """Write all scores as one Markdown table; `scores.csv` has the numbers."""
    frame = read_frame(scores, *COLUMNS, *CARD)
    shown = {metric: name for metric, name in SHOWN.items() if metric in set(frame["metric"])}
    frame = frame[frame["metric"].isin(shown)]
    head = [*KEYS, *SIZES, *shown.values()]
    lines = [line(head), line(["---"] * len(head))]
    for key, its in frame.groupby(KEYS, sort=True):
        sizes = [f"{its[name].iloc[0]:g}" for name in SIZES]
        cells = (_cell(its[its["metric"] == metric]) for metric in shown)
        lines.append(line([*map(str, key), *sizes, *cells]))
    named = frame.rename(columns={"network": "features", "beside_network": "2nd network"})
    text = "\n".join([CAPTION, "", *lines, "", networks(named), ""])
    with atomic(markdown) as partial:
        partial.write_text(text, encoding="utf-8")


def _cell(found: pd.DataFrame) -> str:
    if found["oom"].any():
        return "OOM"
    value, low, high = (found[name].mean() for name in ("value", "low", "high"))
    if pd.isna(value):
        return "-"
    return f"{value:.4g}" if pd.isna(low) else f"{value:.4g} [{low:.4g}, {high:.4g}]"
