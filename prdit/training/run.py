"""One training as a step of the workflow: from packed volumes to a weights file."""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path

import torch

from prdit.data.store import open_store
from prdit.files import sha256, write_json
from prdit.generators import weights as weights_file
from prdit.generators.base import Generator, build
from prdit.recipes import TrainRecipe
from prdit.training.loop import train


def run(
    recipe: TrainRecipe,
    *,
    volumes: Path,
    start_from: Path | None,
    weights: Path,
    record: Path,
    threads: int,
) -> None:
    """Train one model on the training part of a store.

    Args:
        volumes: the store's .npy file.
        start_from: weights of the model that this one builds on.
        weights: averaged weights, the file that sampling reads.
        record: JSON of what it took: status, volumes seen, seconds, device, parameters, sha256.
    """
    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    store = open_store(volumes)
    generator = build(recipe.model, recipe.size, recipe.base)
    if start_from is not None:
        raw = recipe.model.start_weights == "raw"
        generator.start_from(weights_file.load(start_from, raw=raw)[0])
    generator.network.to(device)
    started = time.perf_counter()
    real = torch.from_numpy(store.volumes("train")).to(device)
    averaged = train(generator, real, recipe.model.training, _print)
    seconds = time.perf_counter() - started
    volume = {"window": store.window, "nominal_hu": store.nominal, "spacing_mm": store.spacing_mm}
    weights_file.save(weights, averaged, generator.network.state_dict(), recipe, volume)
    told = {
        "status": "ok",
        "sha256": sha256(weights),
        "volumes": recipe.model.training.volumes,
        "training_volumes": len(real),
        "seconds": round(seconds, 1),
        "threads": threads,
        "torch": torch.__version__,
    }
    write_json(record, told | _device(device) | _parameters(generator))


def _device(device: str) -> dict[str, str]:
    cpu = platform.processor() or platform.machine()
    return {"device": torch.cuda.get_device_name() if device == "cuda" else cpu}


def _parameters(generator: Generator) -> dict[str, int]:
    parameters = list(generator.network.parameters())
    trained = [p for p in parameters if p.requires_grad]
    return {
        "parameters": sum(p.numel() for p in parameters),
        "trained_parameters": sum(p.numel() for p in trained),
    }


def _print(entry: dict[str, float]) -> None:
    rounded = {name: float(f"{value:.5g}") for name, value in entry.items()}
    print(json.dumps(rounded), file=sys.stderr, flush=True)
