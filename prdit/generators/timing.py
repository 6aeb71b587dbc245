"""How long a volume takes, one at a time, as a step of the workflow (Table 6)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from prdit.errors import OutOfMemory
from prdit.files import write_json
from prdit.generators import weights as weights_file
from prdit.machine.device import chosen_device, device_name
from prdit.machine.memory import asked_for, peak_gib
from prdit.machine.rate import synchronise
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
        generator, _ = weights_file.load(weights, str(device))
        draw = generator.drawing(recipe.sampler)
        with torch.inference_mode():
            for number in range(recipe.repeats + 1):
                started = time.perf_counter()
                draw(torch.tensor([number], device=device), 0)
                synchronise(device)
                seconds.append(time.perf_counter() - started)
        card["memory_gib"] = round(peak_gib(device), 3)
    except (OutOfMemory, RuntimeError, MemoryError) as error:
        asked = asked_for(error)
        if asked is None:
            raise
        card["oom"], seconds = asked, []
    write_json(timing, {**about, "seconds": seconds[1:], "card": card})
