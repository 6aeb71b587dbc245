"""Every score of a run in one table, with intervals: the paper's metrics and those beside them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from prdit.files import atomic
from prdit.report.markdown import line

KEYS = ["dataset", "size", "model", "sampler"]
SHOWN = {
    "fid": "FID",
    "mmd": "MMD",
    "mmd_unbiased": "MMD², unbiased",
    "kid": "KID",
    "density": "density",
    "coverage": "coverage",
    "fid_train": "FID train",
    "fid_held_out": "FID held-out",
    "copies": "copies per 1,000",
}
CAPTION = (
    "Every set of samples by every metric, mean over sampling seeds; in brackets, an interval of"
    " 95 % of the first seed: by bootstrap of FID and MMD, by blocks of KID. Density and coverage:"
    " 1 is best, of all others 0. Of copies, 50 per 1,000 are expected by chance. Features as each"
    " score's card tells."
)


def run(*, scores: Path, markdown: Path) -> None:
    """Write all scores as one Markdown table; `scores.csv` has the numbers."""
    frame = pd.read_csv(scores)
    frame = frame[frame["metric"].isin(SHOWN)]
    lines = [line([*KEYS, *SHOWN.values()]), line(["---"] * (len(KEYS) + len(SHOWN)))]
    for key, its in frame.groupby(KEYS, sort=True):
        lines.append(line([*map(str, key), *(_cell(its[its["metric"] == m]) for m in SHOWN)]))
    with atomic(markdown) as partial:
        partial.write_text("\n".join([CAPTION, "", *lines, ""]), encoding="utf-8")


def _cell(found: pd.DataFrame) -> str:
    if found["oom"].any():
        return "OOM"
    first = found.iloc[0]
    value = f"{found['value'].mean():.4g}"
    return value if pd.isna(first["low"]) else f"{value} [{first['low']:.4g}, {first['high']:.4g}]"
