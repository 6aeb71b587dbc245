"""Scores of one set of samples as a step of the workflow: tidy rows and the card behind them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prdit.errors import UserError
from prdit.files import write_json
from prdit.metrics.feature_sets import FeatureSet, read
from prdit.metrics.frechet import frechet_distance
from prdit.metrics.mmd import mmd
from prdit.recipes import ScoreRecipe

METRICS = {"fid": frechet_distance, "mmd": mmd}


def run(recipe: ScoreRecipe, *, real: Path, generated: Path | None, score: Path) -> None:
    """Score generated against real features; without generated ones, real against real.

    Args:
        score: JSON with the metrics and the card of what they were made from.
    """
    reals, samples = read(real), None if generated is None else read(generated)
    if samples is None or generated is None:
        card = reals.card
        reference, other = floor_sets(reals.features, recipe.reference, recipe.volumes)
    else:
        card = samples.card
        check_comparable(reals, samples, generated)
        reference, other = reals.features[: recipe.reference], samples.features[: recipe.volumes]
    oom = "oom" in card
    values = {name: None if oom else metric(reference, other) for name, metric in METRICS.items()}
    keys = ("dataset", "size", "model", "sampler", "seed")
    about = {key: getattr(recipe, key) for key in keys}
    sizes = {"reference": len(reference), "volumes": len(other)}
    made_from = {**card, **sizes, "cohort": reals.card["cohort"]}
    write_json(score, {**about, "metrics": values, "card": made_from})


def floor_sets(features: np.ndarray, reference: int, volumes: int) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint sets of real features, of the two sizes asked for or smaller in proportion.

    They alternate through the sorted ids, so that neither is the collection's beginning.

    Raises:
        UserError: fewer than 4 real volumes.
    """
    total = min(len(features), reference + volumes)
    if total < 4:
        raise UserError(f"{len(features)} real volumes cannot be split in two sets; use 4 at least")
    size = min(max(2, round(total * volumes / (reference + volumes))), total - 2)
    chosen = np.linspace(0, len(features) - 1, total).round().astype(int)
    second = np.linspace(0, total - 1, size).round().astype(int)
    first = np.setdiff1d(np.arange(total), second)
    return features[chosen[first]], features[chosen[second]]


def check_comparable(reals: FeatureSet, samples: FeatureSet, path: Path) -> None:
    """Raise UserError unless both are of one cohort, windowed alike, and of the same network.

    Samples that were drawn elsewhere know no cohort.
    """
    keys = ["network", "network_sha256"]
    if "oom" not in samples.card:
        keys += ["window"] if samples.card["cohort"] is None else ["window", "cohort"]
    for key in keys:
        mine, its = samples.card[key], reals.card[key]
        if mine != its:
            raise UserError(
                f"{path} cannot be scored: its {key} is {mine}, that of the real features {its};"
                " make both again with one config"
            )
