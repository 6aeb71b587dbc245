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
from prdit.machine.memory import peak_gib, that_counts
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
        with that_counts(device), torch.inference_mode():
            generator, _ = weights_file.load(weights, str(device))
            draw = generator.drawing(recipe.sampler)
            for number in range(recipe.repeats + 1):
                started = time.perf_counter()
                draw(torch.tensor([number], device=device), 0)
                synchronise(device)
                seconds.append(time.perf_counter() - started)
        card["memory_gib"] = round(peak_gib(device), 3)
    except OutOfMemory as error:
        card["oom"], seconds = error.asked, []
    write_json(timing, {**about, "seconds": seconds[1:], "card": card})
