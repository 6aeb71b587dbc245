"""What the branches of a PRDiT add up from (Figure 15), as a step of the workflow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from prdit.errors import OutOfMemory, UserError
from prdit.files import atomic
from prdit.generators import weights as weights_file
from prdit.generators.prdit import PRDiTGenerator
from prdit.machine.device import chosen_device
from prdit.models.prdit import PRDiT
from prdit.recipes import BranchesRecipe

COUNT = 4
"""Volumes that are shown."""


def run(recipe: BranchesRecipe, *, weights: Path, volumes: Path, threads: int) -> None:
    """Draw the first samples of seed 0 up to the last call of the model, and keep its two parts.

    Args:
        volumes: .npz to write: float32 [n, S, S, S] "local" and "residual", in units of the window
            ([-1, 1]), which add up to the prediction; the window; mm of a voxel.
    """
    torch.set_num_threads(threads)
    device = chosen_device()
    try:
        generator, about = weights_file.load(weights, str(device))
    except OutOfMemory as error:
        raise UserError(
            f"{recipe.model} was too large to train ({error.asked}); name a smaller one"
        ) from None
    network = generator.network
    both = isinstance(network, PRDiT) and None not in (network.local, network.residual)
    if not isinstance(generator, PRDiTGenerator) or not both:
        raise UserError(f"{recipe.model} has not both branches; name a PRDiT with a stage 1")
    found = [
        generator.branches(torch.tensor([number], device=device), 0, recipe.sampler)
        for number in range(COUNT)
    ]
    local, residual = (
        torch.cat(part).squeeze(1).cpu().numpy() for part in zip(*found, strict=True)
    )
    with atomic(volumes) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            local=local,
            residual=residual,
            window=about["window"],
            spacing_mm=about["spacing_mm"],
        )
