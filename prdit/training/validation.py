"""Losses on held-out patients, at noise and timesteps that are the same in every run."""

from __future__ import annotations

import torch

from prdit.generators.base import Trainable
from prdit.machine.memory import asked_for, release
from prdit.training.feed import Volumes
from prdit.training.update import Updates

MOST = 64
"""Held-out volumes that are looked at, at most: the first by id."""


@torch.no_grad()
def validate(generator: Trainable, held_out: Volumes, updates: Updates) -> dict[str, float]:
    """Mean losses of the weights as they are, named "validation_..."; none for some generators.

    Args:
        updates: says how many volumes at a time, and how precisely.
    """
    generator.network.eval()
    while True:
        try:
            found = means(generator, held_out, updates)
            break
        except Exception as error:
            if updates.validation_batch == 1 or asked_for(error) is None:
                raise
        updates.validation_batch //= 2  # out here the failed attempt's memory is free again
        release()
    generator.network.train()
    return found


def means(generator: Trainable, held_out: Volumes, updates: Updates) -> dict[str, float]:
    """The same, as many volumes at a time as `updates` says."""
    sums: dict[str, float] = {}
    index = torch.arange(min(MOST, len(held_out)))
    for some in index.split(updates.validation_batch):
        with updates.precision():
            found = generator.validation(held_out(some), some.to(held_out.device))
        for name, value in found.items():
            key = f"validation_{name}"
            sums[key] = sums.get(key, 0.0) + float(value) * len(some) / len(index)
    return sums
