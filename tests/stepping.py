"""Tiny trainings: one step of a generator, or a whole run in a folder."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prdit.config import Model, PRDiT, Training
from prdit.data.store import FULL
from prdit.generators.base import Generator
from prdit.machine.processes import Processes
from prdit.recipes import TrainRecipe
from prdit.training.run import run
from prdit.training.update import Updates

ALONE = Processes(torch.device("cpu"))


def step(
    generator: Generator,
    x0: Tensor,
    index: Tensor,
    training: Training,
    processes: Processes = ALONE,
    micro_batch: int = 64,
) -> dict[str, Tensor]:
    """What a training does at each step, after `generator.optimizers()`."""
    updates = Updates(processes, training, micro_batch)
    updates.batch(processes.share(x0), processes.share(index), len(x0))
    return generator.step(updates)


ENTRY = PRDiT(
    depth=0,
    width=24,
    heads=2,
    patch=4,
    stride=2,
    training=Training(volumes=64, batch=4, learning_rate=3e-3, ema=0.9),
)


def chests(size: int = 8) -> torch.Tensor:
    """Smooth blobs: something that can be learnt in a few steps."""
    z, y, x = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 3, indexing="ij")
    return torch.stack([1 - 2 * ((z**2 + y**2 + x**2) / r).clamp(max=1) for r in (1.0, 1.5, 2.0)])


def store(folder: Path, size: int = 8) -> Path:
    array = folder / f"{size}.npy"
    np.save(array, (chests(size).numpy() * FULL).astype("<i2"))
    digest = hashlib.sha256(array.read_bytes()).hexdigest()
    about = {
        "series": ["1", "2", "3"],
        "parts": ["train", "train", "held-out"],
        "window": [-1000.0, 400.0],
        "highs": [400.0] * 3,
        "cohort": "c0",
        "spacing_mm": 32.0,
        "sha256": digest,
    }
    array.with_suffix(".json").write_text(json.dumps(about))
    return array


def arguments(folder: Path, *, size: int = 8, **changes: Any) -> dict[str, Any]:
    """What `run` is told, but for the recipe, of a training in a folder of its own."""
    folder.mkdir(exist_ok=True)
    about: dict[str, Any] = {
        "code": "as it is",
        "volumes": store(folder, size),
        "start_from": None,
        "perceptual": [],
        "weights": folder / "weights.safetensors",
        "record": folder / "run.json",
        "history": folder / "training.jsonl",
        "batch": 16,
        "processes": 1,
        "threads": 1,
    }
    return about | changes


def trained(
    folder: Path, entry: Model = ENTRY, *, size: int = 8, base: Model | None = None, **changes: Any
) -> Path:
    """Weights of a training in a folder of its own."""
    recipe = TrainRecipe(model=entry, size=size, base=base)
    run(recipe, **arguments(folder, size=size, **changes))
    return folder / "weights.safetensors"


def command(folder: Path, entry: PRDiT = ENTRY, **changes: Any) -> list[str]:
    """The same as a command line."""
    told = arguments(folder, **changes)
    recipe = TrainRecipe(model=entry, size=8).model_dump_json()
    words = [sys.executable, "-m", "prdit", "train", "--recipe", recipe]
    for name, value in told.items():
        if value not in (None, []):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def lasting(volumes: int, **changes: Any) -> PRDiT:
    """The tiny model, trained on so many volumes."""
    training = ENTRY.training.model_copy(update={"volumes": volumes, **changes})
    return ENTRY.model_copy(update={"training": training})


def history(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
