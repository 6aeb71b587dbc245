"""Scores of one set of samples as a step of the workflow: tidy rows and the card behind them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from prdit.errors import UserError
from prdit.files import write_json
from prdit.metrics.diversity import coverage, density
from prdit.metrics.feature_sets import FeatureSet, read
from prdit.metrics.frechet import frechet_distance
from prdit.metrics.interval import Score, bootstrap
from prdit.metrics.memorization import CLOSEST, Copies, copies
from prdit.metrics.mmd import kid, kid_interval, median_gamma, mmd, mmd_unbiased
from prdit.recipes import ScoreRecipe

METRICS: dict[str, Score] = {
    "fid": frechet_distance,
    "mmd": mmd,
    "mmd_unbiased": mmd_unbiased,
    "kid": kid,
    "density": density,
    "coverage": coverage,
}
"""Of features [n, d] of real and [m, d] of generated volumes."""
BESIDE: dict[str, Score] = {"fid_beside": frechet_distance, "mmd_beside": mmd}
"""Of the features of a second network, if there is one."""
BY_PART = ("fid_train", "fid_held_out")
"""FID against as many training as held-out volumes: the former alone falls with memorization."""
COPIES = ("copies", "copies_by_chance")
"""Per 1,000 samples; and as many as there would be of unseen real volumes, in the mean."""
ALL = (*METRICS, *BY_PART, *COPIES)
WAYS = ("", "z", "y", "x")
"""Axis along which a training volume is flipped to be nearest."""
LEAST = 4
"""Volumes of each kind without which there is no score: KID's interval takes two blocks of two."""


def run(recipe: ScoreRecipe, *, real: Path, generated: Path | None, score: Path) -> None:
    """Score generated against real features; without generated ones, real against real.

    Args:
        score: JSON with the metrics, their intervals, and the card of what they were made from.
    """
    reals = read(real)
    if generated is None:
        card, (some, others) = reals.card, floor_sets(reals, recipe.reference, recipe.volumes)
    else:
        samples = read(generated)
        check_comparable(reals, samples, generated)
        card, some = samples.card, reals.rows(np.arange(len(reals.names))[: recipe.reference])
        others = samples.rows(np.arange(len(samples.names))[: recipe.volumes])
    keys = ("dataset", "size", "model", "sampler", "seed")
    about = {key: getattr(recipe, key) for key in keys}
    sizes = {"reference": len(some.names), "volumes": len(others.names)}
    made_from = {**card, **sizes, "cohort": reals.card["cohort"]}
    if "oom" in card:
        names = (*ALL, *(BESIDE if "beside_network" in card else ()))
        found: dict[str, Any] = {"metrics": dict.fromkeys(names)}
    elif min(sizes.values()) < LEAST:
        raise UserError(
            f"{recipe.model} has {sizes['volumes']} volumes to score against {sizes['reference']};"
            f" at least {LEAST} of each are needed"
        )
    else:
        found = scored(reals, some, others, others.names if generated is None else [])
    write_json(score, {**about, **found, "card": made_from})


def scored(
    reals: FeatureSet, some: FeatureSet, others: FeatureSet, left_out: list[str]
) -> dict[str, Any]:
    """All metrics of a set of volumes, and the intervals of some.

    Args:
        reals: all real volumes.
        some: those of them that are compared with.
        others: what is scored.
        left_out: names of real volumes that must not be compared with: they are scored themselves.
    """
    x, y = some.features, others.features
    metrics: dict[str, float | None] = {name: metric(x, y) for name, metric in METRICS.items()}
    if some.beside.shape[1]:
        metrics |= {name: metric(some.beside, others.beside) for name, metric in BESIDE.items()}
    width = partial(mmd, gamma=median_gamma(x))  # not anew for each draw
    intervals = {"fid": bootstrap(frechet_distance, x, y), "mmd": bootstrap(width, x, y)}
    intervals["kid"] = kid_interval(x, y)
    train, held_out = by_part(reals, set(left_out))
    size = min(len(train.names), len(held_out.names))
    for name, part in zip(BY_PART, (train, held_out), strict=True):
        metrics[name] = None
        if size > 1:
            metrics[name], intervals[name] = against_parts(part, size, y)
    about = {"metrics": metrics, "intervals": intervals, "by_part": size}
    if left_out and (len(train.names) < 2 or not held_out.names):
        metrics |= dict.fromkeys(COPIES)  # of the few that are left, none tells what a copy is
        return about | {"threshold": None, "closest": []}
    search = copies(train.prints, held_out.prints, others.prints)
    metrics |= dict(zip(COPIES, (1000 * search.share, 1000 * search.by_chance), strict=True))
    pairs = closest(search, train.names, others.names)
    return about | {"threshold": search.threshold, "closest": pairs}


def against_parts(part: FeatureSet, size: int, y: np.ndarray) -> tuple[float, tuple[float, float]]:
    """FID of features [m, d] against sets of so many of a part: their mean, and its interval."""
    sets = [one.features for one in part.parted(size)]
    found = [frechet_distance(x, y) for x in sets]
    mean = float(np.mean(found))
    low, high = bootstrap(frechet_distance, sets[0], y)
    shift = mean - found[0]  # the first set's spread, around the mean of all
    return mean, (low + shift, high + shift)


def closest(search: Copies, train: list[str], others: list[str]) -> list[dict[str, Any]]:
    """The pairs of least distance, by name."""
    return [
        {
            "sample": others[i],
            "series": train[search.nearest[i]],
            "distance": float(search.distance[i]),
            "flipped": WAYS[search.way[i]],
        }
        for i in np.argsort(search.distance, kind="stable")[:CLOSEST]
    ]


def by_part(reals: FeatureSet, left_out: set[str]) -> tuple[FeatureSet, FeatureSet]:
    """Training and held-out real volumes, but for some."""
    found = []
    for part in ("train", "held-out"):
        chosen = [
            i
            for i, (name, its) in enumerate(zip(reals.names, reals.parts, strict=True))
            if its == part and name not in left_out
        ]
        found.append(reals.rows(np.array(chosen, dtype=int)))
    return found[0], found[1]


def floor_sets(reals: FeatureSet, reference: int, volumes: int) -> tuple[FeatureSet, FeatureSet]:
    """Two disjoint sets of real volumes, of the two sizes asked for or smaller in proportion.

    They alternate through the sorted ids, so that neither is the collection's beginning.

    Raises:
        UserError: fewer than 8 real volumes.
    """
    count, least = len(reals.names), min(LEAST, reference, volumes)
    if count < 2 * LEAST:
        raise UserError(
            f"{count} real volumes cannot be split in two sets of {LEAST} at least;"
            f" use {2 * LEAST} or more"
        )
    total = min(count, reference + volumes)
    size = min(max(least, round(total * volumes / (reference + volumes))), total - least)
    chosen = np.linspace(0, count - 1, total).round().astype(int)
    second = np.linspace(0, total - 1, size).round().astype(int)
    first = np.setdiff1d(np.arange(total), second)
    return reals.rows(chosen[first]), reals.rows(chosen[second])


def check_comparable(reals: FeatureSet, samples: FeatureSet, path: Path) -> None:
    """Raise UserError unless both are of one cohort, windowed alike, and of the same network.

    Samples that were drawn elsewhere know no cohort.
    """
    keys = ["network", "network_sha256", "beside_network", "beside_network_sha256"]
    if "oom" not in samples.card:
        keys += ["size", "window"] + ([] if samples.card["cohort"] is None else ["cohort"])
    for key in keys:
        mine, its = samples.card.get(key), reals.card.get(key)
        if mine != its:
            raise UserError(
                f"{path} cannot be scored: its {key} is {mine}, that of the real features {its};"
                " make both again with one config"
            )
    if "oom" not in samples.card and samples.features.shape[1] != reals.features.shape[1]:
        raise UserError(f"{path} has features of another length than the real ones; make both anew")
