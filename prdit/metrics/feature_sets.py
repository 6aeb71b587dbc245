"""Features of a whole set of volumes as a step of the workflow, stored once for all metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from prdit.data.samples import read_samples
from prdit.data.store import open_store
from prdit.data.volume import from_window, to_window
from prdit.files import atomic, damaged, read_json, sha256
from prdit.recipes import FeaturesRecipe

RANDOM_SEED = 0


@dataclass(frozen=True)
class FeatureSet:
    """Features of a set of volumes, and what made them."""

    features: np.ndarray
    """float32 [n, d]"""
    names: list[str]
    card: dict[str, Any]
    """With a key "oom" if there are none, since their model was too large to train."""


def run(
    recipe: FeaturesRecipe,
    *,
    real: Path | None,
    cards: list[Path],
    features: Path,
    batch: int,
    threads: int,
) -> None:
    """Take features of the real volumes of a store, or of the samples named by cards.

    Args:
        real: the store's .npy file; or
        cards: of every portion of the samples.
        features: the .npz to write.
        batch: volumes at a time.
    """
    import torch

    from prdit.metrics.features import extract

    torch.set_num_threads(threads)
    network, about = load_network(recipe)
    if any("oom" in read_json(card) for card in cards):
        write(features, FeatureSet(np.empty((0, 0), np.float32), [], about | {"oom": True}))
        return
    volumes, names, made_from = real_volumes(real) if real else generated_volumes(cards)
    found = np.stack(list(extract(network, volumes, batch)))
    card = about | made_from | {"volumes": len(names)}
    write(features, FeatureSet(found, names, card))
    print(f"features of {len(names)} volumes by {about['network']}")


def load_network(recipe: FeaturesRecipe) -> tuple[Any, dict[str, Any]]:
    """The feature network, and in words what it is."""
    from prdit.metrics.features import load_medicalnet, randomise, resnet_3d

    network = resnet_3d(recipe.network)
    if recipe.weights is None:
        randomise(network, RANDOM_SEED)
        name = f"randomly initialised {recipe.network} (seed {RANDOM_SEED}), not MedicalNet"
        return network, {"network": name, "network_sha256": None}
    path = Path(recipe.weights)
    load_medicalnet(network, path)
    return network, {
        "network": f"MedicalNet {recipe.network}, {path.name}",
        "network_sha256": sha256(path),
    }


def real_volumes(array: Path) -> tuple[Iterator[np.ndarray], list[str], dict[str, Any]]:
    """The store's volumes, rounded to whole HU as generated ones are; their ids; window, cohort."""
    store = open_store(array)
    low, high = store.window
    hu = (from_window(store.volume(i), low, high) for i in range(len(store.series)))
    made_from = {"window": [low, high], "cohort": store.cohort}
    return (to_window(volume, low, high) for volume in hu), store.series, made_from


def generated_volumes(cards: list[Path]) -> tuple[Iterator[np.ndarray], list[str], dict[str, Any]]:
    """The samples that cards name, their file names; window, and the cohort trained on if known."""
    told = {path: read_json(path, "files", "window") for path in cards}
    low, high = told[cards[0]]["window"]
    volumes = (to_window(v.hu, low, high) for card in cards for v in read_samples(card))
    made_from = {"window": [low, high], "cohort": told[cards[0]].get("cohort")}
    return volumes, [name for card in told.values() for name in sorted(card["files"])], made_from


def write(path: Path, found: FeatureSet) -> None:
    """Store features as a .npz file."""
    card = json.dumps(found.card, sort_keys=True)
    with atomic(path) as partial, partial.open("wb") as file:
        np.savez(file, features=found.features, names=found.names, card=card)


def read(path: Path) -> FeatureSet:
    """The features at `path`. Raises UserError if they cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            card = json.loads(str(file["card"]))
            return FeatureSet(file["features"], [str(n) for n in file["names"]], card)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise damaged(path, str(error)) from None
