"""How fast a device multiplies matrices: what a training's or sampling's speed is a share of."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.flop_counter import FlopCounterMode

from prdit.generators.base import Losses, Update

EDGE = {"cuda": 8192, "cpu": 768}
"""Edge of the square matrices: large enough that nothing but the product counts."""


def matrix_rate(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    """FLOP per second of a product of square matrices of a type, as measured here and now."""
    n = EDGE[device.type]
    a = random_square(n, device, dtype)
    times = []
    for _ in range(repeats + 1):
        synchronise(device)
        started = time.perf_counter()
        a @ a
        synchronise(device)
        times.append(time.perf_counter() - started)
    return 2 * n**3 / statistics.median(times[1:])


def random_square(n: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A matrix [n, n]; a GPU that multiplies equal numbers takes less power and runs faster."""
    stream = torch.Generator(device).manual_seed(0)
    return torch.randn(n, n, device=device, dtype=dtype, generator=stream)


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def flop_per_volume(step: Callable[[Update], object], x0: Tensor, index: Tensor) -> float:
    """FLOP of the matrix products of a training step, per volume, counted on x0 [B, 1, S, S, S].

    Args:
        step: a generator's; no weight changes.
    """

    def only_look(optimizer: Optimizer, losses: Losses) -> dict[str, Tensor]:
        found = losses(x0, index)
        found["loss"].backward()
        optimizer.zero_grad()
        return {
            **{name: value.detach() for name, value in found.items()},
            "gradient": torch.ones(()),
        }

    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _NoTracker()  # type: ignore[assignment]
    with counter:
        step(only_look)
    return counter.get_total_flops() / len(x0)


class _NoTracker:
    """In place of what tells modules apart, which cannot bear gradients of gradients."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass
