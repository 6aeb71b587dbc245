"""The usual Gaussian diffusion (Ho et al., 2020), as rivals use it.

x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps with abar_t the product of 1 - beta up to t = 0..T-1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from prdit.diffusion.noise import spread
from prdit.diffusion.samplers import Plan, Step


@dataclass(frozen=True)
class Schedule:
    """How much of a volume is kept at each of T timesteps."""

    betas: tuple[float, ...]

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.betas)

    def kept(self) -> np.ndarray:
        """abar_t, float64 [T]."""
        return np.cumprod(1 - np.array(self.betas))

    def of(self, t: Tensor, like: Tensor) -> Tensor:
        """abar at t [B], to be multiplied with `like` [B, ...]."""
        kept = torch.from_numpy(self.kept()).to(t.device)[t].to(like)
        return kept.reshape(-1, *[1] * (like.dim() - 1))

    def diffuse(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t of x0 and eps [B, ...] at t [B]."""
        kept = self.of(t, x0)
        return kept.sqrt() * x0 + (1 - kept).sqrt() * eps

    def undone(self, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x0 of x_t and eps [B, ...] at t [B]."""
        kept = self.of(t, x)
        return (x - (1 - kept).sqrt() * eps) / kept.sqrt()

    def spread(self, index: Tensor) -> Tensor:
        """Fixed timesteps, spread evenly however many there are: one for each entry of index."""
        return (spread(index) * self.timesteps).long()

    def ancestral(self, steps: int, variance: Literal["beta", "posterior"]) -> Plan:
        """Ancestral sampling from predictions of x0.

        With fewer steps than T, they go from one chosen timestep to the next as if there were no
        others; the last one takes the prediction itself.

        Args:
            variance: of the noise that is added: beta, or that of q(x_then | x_now, x0), the
                smaller one.
        """
        times = self.times(steps)
        kept = [float(self.kept()[t]) for t in times] + [1.0]
        plan = [_posterior(now, then, variance) for now, then in pairwise(kept)]
        return Plan(times=[*times, -1], steps=plan, prediction=Step(0.0, 1.0, 0.0))

    def times(self, steps: int) -> list[int]:
        """So many timesteps from T - 1 down to 0."""
        if steps == 1:
            return [self.timesteps - 1]
        return [round((self.timesteps - 1) * left / (steps - 1)) for left in reversed(range(steps))]


def linear(timesteps: int, first: float = 1e-4, last: float = 2e-2) -> Schedule:
    """beta from `first` to `last` in T even steps."""
    return Schedule(tuple(np.linspace(first, last, timesteps)))


def cosine(timesteps: int, offset: float = 0.008, most: float = 0.9999) -> Schedule:
    """abar as a squared cosine (Nichol and Dhariwal, 2021); beta at most `most`."""

    def level(t: int) -> float:
        return math.cos((t / timesteps + offset) / (1 + offset) * math.pi / 2) ** 2

    betas = (1 - level(t + 1) / level(t) for t in range(timesteps))
    return Schedule(tuple(min(beta, most) for beta in betas))


def _posterior(now: float, then: float, variance: str) -> Step:
    """From abar = now to abar = then: mean of q(x_then | x_now, x0), and noise."""
    alpha = now / then
    beta = 1 - alpha
    of_x0 = then**0.5 * beta / (1 - now)
    of_x = alpha**0.5 * (1 - then) / (1 - now)
    smaller = (1 - then) / (1 - now) if variance == "posterior" else 1.0
    return Step(of_x, of_x0, 0.0, (beta * smaller) ** 0.5 if then < 1 else 0.0)
