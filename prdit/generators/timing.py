"""How long a volume takes, one at a time, as a step of the workflow (Table 6)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prdit.errors import OutOfMemory
from prdit.files import write_json
from prdit.generators import weights as weights_file
from prdit.generators.base import Draw
from prdit.machine.device import chosen_device, device_name
from prdit.machine.memory import peak_gib
from prdit.machine.rate import synchronise
from prdit.machine.too_large import that_counts
from prdit.recipes import TimeRecipe


def run(recipe: TimeRecipe, *, weights: Path, timing: Path, threads: int) -> None:
    """Draw one volume several times, after one that does not count, and write down the seconds.

    Args:
        timing: JSON with the seconds of each, and a card of device and precision.
    """
    torch.set_num_threads(threads)
    device = chosen_device()
    cuda = device.type == "cuda"
    card: dict[str, Any] = {
        "device": device_name(device) + ("" if cuda else f" CPU, {threads} threads"),
        "precision": recipe.sampler.precision if cuda else "float32",
        "torch": torch.__version__,
    }
    about = {key: getattr(recipe, key) for key in ("dataset", "size", "model")}
    about["sampler"] = recipe.name
    seconds: list[float] = []
    try:
        with that_counts(device):
            draw = weights_file.load(weights, str(device))[0].drawing(recipe.sampler)
            numbers = torch.arange(recipe.repeats + 1).to(device).split(1)
            seconds_of(draw, numbers[0])
        seconds = [seconds_of(draw, number) for number in numbers[1:]]
        card["memory_gib"] = round(peak_gib(device), 3)
    except OutOfMemory as error:
        card["oom"] = error.asked
    write_json(timing, {**about, "seconds": seconds, "card": card})


@torch.inference_mode()
def seconds_of(draw: Draw, index: Tensor) -> float:
    """How long drawing the volumes number `index` [B] takes."""
    started = time.perf_counter()
    draw(index, 0)
    synchronise(index.device)
    return time.perf_counter() - started
