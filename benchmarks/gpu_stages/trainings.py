"""Trainings as the workflow runs them: a store and a command, in a folder of their own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from prdit.config import Model
from prdit.data.store import FULL
from prdit.recipes import TrainRecipe

from .case import ROOT

WINDOW = (-1000.0, 400.0)


def lay_out(folder: Path, volumes: Tensor, spacing_mm: float = 4.0) -> Path:
    """Volumes [N, 1, S, S, S] in [-1, 1] as a packed array; the last eighth is held out."""
    folder.mkdir(parents=True, exist_ok=True)
    array = folder / "volumes.npy"
    np.save(array, np.rint(volumes[:, 0].numpy() * FULL).astype("<i2"))
    held_out = max(2, len(volumes) // 8)
    about = {
        "series": [str(n) for n in range(len(volumes))],
        "parts": ["train"] * (len(volumes) - held_out) + ["held-out"] * held_out,
        "window": WINDOW,
        "highs": [WINDOW[1]] * len(volumes),
        "cohort": "benchmark",
        "spacing_mm": spacing_mm,
        "sha256": hashlib.sha256(array.read_bytes()).hexdigest(),
    }
    array.with_suffix(".json").write_text(json.dumps(about))
    return array


def told(folder: Path, array: Path, **changes: Any) -> dict[str, Any]:
    """What a training is told, but for its recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "code": "benchmark",
        "volumes": array,
        "start_from": None,
        "perceptual": [],
        "weights": folder / "weights.safetensors",
        "record": folder / "run.json",
        "history": folder / "training.jsonl",
        "batch": 16,
        "processes": 1,
        "threads": 1,
        **changes,
    }


def start(
    folder: Path, array: Path, entry: Model, size: int, **changes: Any
) -> subprocess.Popen[str]:
    """A training in a process of its own; what it says is in folder/log."""
    recipe = TrainRecipe(model=entry, size=size).model_dump_json()
    words = [sys.executable, "-m", "prdit", "train", "--recipe", recipe]
    for name, value in told(folder, array, **changes).items():
        if value not in (None, []):
            words += [f"--{name.replace('_', '-')}", str(value)]
    with (folder / "log").open("a") as log:
        return subprocess.Popen(words, cwd=ROOT, stdout=log, stderr=log, text=True)


def said(folder: Path) -> str:
    """The last line of a training's log."""
    lines = (folder / "log").read_text().strip().splitlines() or [""]
    return lines[-1][:200]
