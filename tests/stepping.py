"""One training step of a generator on volumes at hand."""

from __future__ import annotations

import torch
from torch import Tensor

from prdit.config import Training
from prdit.generators.base import Generator
from prdit.machine.processes import Processes
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
