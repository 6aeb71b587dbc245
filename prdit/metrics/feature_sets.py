"""Features of a whole set of volumes as a step of the workflow, stored once for all metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prdit.data.store import open_store
from prdit.data.volume import from_window, read_nifti, to_window
from prdit.errors import UserError
from prdit.files import atomic, read_json, sha256
from prdit.recipes import FeaturesRecipe

RANDOM_SEED = 0


@dataclass(frozen=True)
class FeatureSet:
    """Features of a set of volumes, and what made them."""

    features: np.ndarray
    """float32 [n, d]"""
    names: list[str]
    card: dict[str, Any]


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
    volumes, names, window = real_volumes(real) if real else generated_volumes(cards)
    found = np.stack(list(extract(network, volumes, batch)))
    card = about | {"window": window, "volumes": len(names)}
    with atomic(features) as partial, partial.open("wb") as file:
        np.savez(file, features=found, names=names, card=json.dumps(card, sort_keys=True))
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


def real_volumes(array: Path) -> tuple[Iterator[np.ndarray], list[str], list[float]]:
    """The store's volumes, rounded to whole HU as generated ones are; their ids; the window."""
    store = open_store(array)
    low, high = store.window

    def volumes() -> Iterator[np.ndarray]:
        for i in range(len(store.series)):
            yield to_window(from_window(store.volume(i), low, high), low, high)

    return volumes(), store.series, [low, high]


def generated_volumes(cards: list[Path]) -> tuple[Iterator[np.ndarray], list[str], list[float]]:
    """The samples that cards name, checked against their sha256; their names; the window.

    Raises:
        UserError: a file is missing or has changed.
    """
    told = {path: read_json(path) for path in cards}
    files = {
        path.parent / name: sha
        for path, card in told.items()
        for name, sha in card["files"].items()
    }
    low, high = told[cards[0]]["window"]

    def volumes() -> Iterator[np.ndarray]:
        for file, expected in files.items():
            if not file.is_file() or sha256(file) != expected:
                raise UserError(
                    f"sample {file} is missing or has changed since it was drawn; delete the .json"
                    " card beside it to have it drawn again"
                )
            yield to_window(read_nifti(file).hu, low, high)

    return volumes(), [file.name for file in files], [low, high]


def read(path: Path) -> FeatureSet:
    """The features at `path`. Raises UserError if they cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            card = json.loads(str(file["card"]))
            return FeatureSet(file["features"], [str(n) for n in file["names"]], card)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"cannot read {path}: {error}; delete it to have it made again") from None
