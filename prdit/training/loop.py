"""The training loop: it owns the data's order, lengths, learning rates, averages and logs.

It knows no architecture; a generator does the update.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prdit.diffusion.noise import permutation
from prdit.errors import UserError
from prdit.generators.base import Generator
from prdit.training.ema import Average

if TYPE_CHECKING:
    from prdit.config import Training

Log = Callable[[dict[str, float]], None]


def train(generator: Generator, volumes: Tensor, training: Training, log: Log) -> dict[str, Tensor]:
    """Train on `volumes` and return the averaged weights.

    Args:
        volumes: [N, S, S, S] in [-1, 1], on the device to train on.
        log: called about 50 times with the losses averaged since the call before.

    Raises:
        UserError: the losses are no longer finite.
    """
    optimizers = generator.optimizers(training)
    average = Average(generator.network, training.ema)
    steps = math.ceil(training.volumes / training.batch)
    report = Report(steps, training, log)
    generator.network.train()
    for step in range(steps):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = training.learning_rate * rate(step, steps, training)
        index = torch.arange(step * training.batch, (step + 1) * training.batch)
        x0 = volumes[order(index, len(volumes), training.seed)].unsqueeze(1)
        losses = generator.step(x0, index.to(volumes.device), training)
        average.update()
        report(step, losses)
    return average.state()


def rate(step: int, steps: int, training: Training) -> float:
    """Share of the learning rate at a step: linear warm-up, then constant or a half cosine."""
    if step < training.warmup_steps:
        return (step + 1) / training.warmup_steps
    if training.decay == "none":
        return 1.0
    return 0.5 + 0.5 * math.cos(math.pi * step / steps)


def order(index: Tensor, n: int, seed: int) -> Tensor:
    """Which of n volumes is seen as number `index` [B]: each once per epoch, shuffled anew."""
    epochs = torch.div(index, n, rounding_mode="floor")
    shuffled = {int(e): permutation(seed, "order", int(e), n) for e in epochs.unique()}
    return torch.stack([shuffled[int(e)][int(i) % n] for i, e in zip(index, epochs, strict=True)])


class Report:
    """Sums losses on the device and hands their means to the log now and then."""

    def __init__(self, steps: int, training: Training, log: Log) -> None:
        self.steps, self.batch, self.log = steps, training.batch, log
        self.every = max(1, steps // 50)
        self.sums: dict[str, Tensor] = {}
        self.since, self.started = 0, time.perf_counter()

    def __call__(self, step: int, losses: dict[str, Tensor]) -> None:
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, torch.zeros_like(value)) + value
        self.since += 1
        if (step + 1) % self.every and step + 1 < self.steps:
            return
        means = {name: float(value) / self.since for name, value in self.sums.items()}
        if not all(map(math.isfinite, means.values())):
            raise UserError(
                f"the training diverged: losses of steps {step + 2 - self.since} to {step + 1} are"
                " not finite; lower learning_rate or clip, or add warmup_steps"
            )
        now = time.perf_counter()
        speed = self.since * self.batch / (now - self.started)
        seen = (step + 1) * self.batch
        self.log({"step": step + 1, "volumes": seen, **means, "volumes_per_second": speed})
        self.sums, self.since, self.started = {}, 0, now
