"""Features of a whole set of volumes as a step of the workflow, stored once for all metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from prdit.config import Backbone
from prdit.data.samples import read_samples
from prdit.data.store import open_store
from prdit.data.volume import to_window
from prdit.errors import UserError
from prdit.files import atomic, damaged, read_json, read_npz, sha256, taken_from
from prdit.metrics.fingerprint import fingerprint
from prdit.recipes import FeaturesRecipe

RANDOM_SEED = 0


@dataclass(frozen=True)
class FeatureSet:
    """Features of a set of volumes, and what made them."""

    features: np.ndarray
    """float32 [n, d]"""
    prints: np.ndarray
    """float32 [n, 7, 7, 4], fingerprints by which copies are found."""
    names: list[str]
    """SeriesInstanceUIDs, or paths of samples."""
    parts: list[str]
    """"train" or "held-out" of real volumes; empty of generated ones."""
    beside: np.ndarray
    """float32 [n, d'], by a second network; [n, 0] if there is none."""
    card: dict[str, Any]
    """With a key "oom" if there are none, since their model was too large to train."""

    def rows(self, chosen: np.ndarray) -> FeatureSet:
        """Some of the volumes [m], by their places."""
        return FeatureSet(
            self.features[chosen],
            self.prints[chosen],
            [self.names[i] for i in chosen],
            [self.parts[i] for i in chosen] if self.parts else [],
            self.beside[chosen],
            self.card,
        )

    def parted(self, size: int) -> Iterator[FeatureSet]:
        """Disjoint sets of so many of the volumes, five at most, each spread from first to last."""
        total = len(self.names)
        for start in range(min(5, total // size)):
            yield self.rows(np.arange(size) * total // size + start)


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

    from prdit.machine.device import chosen_device
    from prdit.metrics.features import extract

    if (real is None) == (not cards):
        raise UserError(
            "features are of real volumes or of samples; give --real or --cards, not both"
        )
    torch.set_num_threads(threads)
    network, about = load_network(recipe.network)
    networks = [network]
    if recipe.beside is not None:
        second, its = load_network(recipe.beside)
        networks.append(second)
        about |= {f"beside_{key}": value for key, value in its.items()}
    if any("oom" in read_json(card) for card in cards):
        nothing = np.empty((0, 0), np.float32)
        write(features, FeatureSet(nothing, nothing, [], [], nothing, about | {"oom": True}))
        return
    volumes, names, parts, made_from = real_volumes(real) if real else generated_volumes(cards)
    device = chosen_device()
    prints: list[np.ndarray] = []
    rows: list[list[np.ndarray]] = [[] for _ in networks]
    while group := list(islice(volumes, batch)):  # a `tee` would keep more than is in use
        prints += map(fingerprint, group)
        for one, made in zip(networks, rows, strict=True):
            made += extract(one.to(device), group, batch)
    found = [np.stack(made) for made in rows]
    if not all(np.isfinite(one).all() for one in found):
        raise UserError(f"{about['network']} makes features that are not finite; check its weights")
    beside = found[1] if len(found) > 1 else np.empty((len(names), 0), np.float32)
    card = about | made_from | {"volumes": len(names)}
    write(features, FeatureSet(found[0], np.stack(prints), names, parts, beside, card))
    print(f"features of {len(names)} volumes by {about['network']}")


def load_network(recipe: Backbone) -> tuple[Any, dict[str, Any]]:
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


Read = tuple[Iterator[np.ndarray], list[str], list[str], dict[str, Any]]
"""Volumes, their names, their parts if they have any, and what they were made from."""


def real_volumes(array: Path) -> Read:
    """The store's volumes, rounded to whole HU as generated ones are."""
    store = open_store(array)
    low, high = store.window
    volumes = map(store.in_whole_hu, range(len(store.series)))
    size = store.quantised.shape[1]
    made_from = {"window": [low, high], "cohort": store.cohort, "size": size}
    return volumes, store.series, store.parts, made_from


def generated_volumes(cards: list[Path]) -> Read:
    """The samples that cards name."""
    told = {path: read_json(path, "files", "window", "size") for path in cards}
    first = told[cards[0]]
    for path, one in told.items():
        for key in ("window", "cohort", "size"):
            if one.get(key) != first.get(key):
                raise UserError(
                    f"{path} has another {key} than {cards[0]}; draw both with one config"
                )
    with taken_from(cards[0]):
        low, high = map(float, first["window"])
    volumes = (to_window(v.hu, low, high) for card in cards for v in read_samples(card))
    made_from = {key: first.get(key) for key in ("window", "cohort", "size")}
    names = [(p.parent / n).as_posix() for p, card in told.items() for n in sorted(card["files"])]
    return volumes, names, [], made_from


def write(path: Path, found: FeatureSet) -> None:
    """Store features as a .npz file."""
    card = json.dumps(found.card, sort_keys=True)
    with atomic(path) as partial, partial.open("wb") as file:
        np.savez(
            file,
            features=found.features,
            prints=found.prints,
            beside=found.beside,
            names=found.names,
            parts=found.parts,
            card=card,
        )


def read(path: Path) -> FeatureSet:
    """The features at `path`. Raises UserError if they cannot be read."""
    file = read_npz(path, "features", "prints", "beside", "names", "parts", "card")
    with taken_from(path):
        card = json.loads(str(file["card"]))
        names, parts = ([str(one) for one in file[key]] for key in ("names", "parts"))
        found = FeatureSet(file["features"], file["prints"], names, parts, file["beside"], card)
    if not (
        isinstance(card, dict)
        and found.features.ndim == 2
        and found.features.dtype.kind == "f"
        and len(found.features) == len(found.prints) == len(found.beside) == len(names)
        and len(parts) in (0, len(names))
        and np.isfinite(found.features).all()
        and np.isfinite(found.prints).all()
        and np.isfinite(found.beside).all()
    ):
        raise damaged(path, "its parts do not fit together, or are not finite")
    return found
