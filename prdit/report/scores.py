"""All scores of a run in one tidy file, for whoever makes other tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from prdit.files import atomic, read_json, taken_from

COLUMNS = ["dataset", "size", "model", "sampler", "seed", "metric", "value", "low", "high"]
"""`low` to `high`: interval of 95 %, of the metrics that have one."""
CARD = [
    "network",
    "beside_network",
    "window",
    "volumes",
    "reference",
    "device",
    "precision",
    "oom",
    "cohort",
]


def run(*, scores: list[Path], table: Path) -> None:
    """Write what `gathered` gathers as CSV."""
    with atomic(table) as partial:
        gathered(scores).to_csv(partial, index=False)


def gathered(scores: list[Path]) -> pd.DataFrame:
    """Scores and timings: a row for each dataset, size, model, sampler, seed and metric.

    Of timings, the seed is the number of the repetition.
    """
    rows: list[dict[str, Any]] = []
    for path in sorted(scores):
        found = read_json(path, *COLUMNS[:4], "card")
        with taken_from(path):
            rows += _rows(found)
    frame = pd.DataFrame(rows, columns=COLUMNS + CARD)
    return frame.astype(dict.fromkeys(("value", "low", "high"), float))  # None is nan


def _rows(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    card = {key: found["card"].get(key) for key in CARD}
    about = {key: found[key] for key in COLUMNS[:4]} | card | {"oom": "oom" in found["card"]}
    for seed, metric, value in values(found):
        low, high = found.get("intervals", {}).get(metric, (None, None))
        yield {**about, "seed": seed, "metric": metric, "value": value, "low": low, "high": high}


def values(found: dict[str, Any]) -> list[tuple[int, str, float | None]]:
    """(seed, metric, value) of a score file, or of a timing."""
    if "metrics" in found:
        return [(found["seed"], metric, value) for metric, value in found["metrics"].items()]
    return [(i, "seconds", value) for i, value in enumerate(found["seconds"] or [None])]
