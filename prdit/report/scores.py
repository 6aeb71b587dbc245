"""All scores of a run in one tidy file, from which every table is a selection."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from prdit.files import atomic, read_json

COLUMNS = ["dataset", "size", "model", "sampler", "seed", "metric", "value"]
CARD = ["network", "volumes", "reference", "card", "oom"]


def run(*, scores: list[Path], table: Path) -> None:
    """Gather score files into rows of dataset, size, model, sampler, seed, metric, value, card."""
    rows = []
    for path in sorted(scores):
        score = read_json(path, *COLUMNS[:-2], "metrics", "card")
        card = {key: score["card"].get(key) for key in CARD} | {"card": path.name}
        card["oom"] = "oom" in score["card"]
        about = {key: score[key] for key in COLUMNS[:-2]}
        rows += [{**about, "metric": m, "value": v, **card} for m, v in score["metrics"].items()]
    frame = pd.DataFrame(rows, columns=COLUMNS + CARD)
    with atomic(table) as partial:
        frame.to_csv(partial, index=False)
