"""The forward process and the loss (Eq. 1, 3, 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from prdit.diffusion.noise import normal, spread


@dataclass(frozen=True)
class Process:
    """x_t = cos(theta_t) x0 + sin(theta_t) eps with theta_t = pi t / 2T (Eq. 1)."""

    timesteps: int
    """T, at which theta is pi / 2."""
    noise_std: float
    """Standard deviation of eps: 1 in Eq. 1, 0.5 in the released code."""
    first_timestep: int = 1
    """Trained on T timesteps from here: 1 in the paper (1..T), 0 in the released code."""

    def angle(self, t: float) -> float:
        """theta_t in radians."""
        return math.pi / 2 * t / self.timesteps

    def noise(
        self, seed: int, purpose: str, index: Tensor, size: int, step: int | Tensor = 0
    ) -> Tensor:
        """eps [B, 1, size, size, size] for each sample index [B], at a step."""
        return self.noise_std * normal(seed, purpose, index, (1, size, size, size), step=step)

    def timesteps_at(self, share: Tensor) -> Tensor:
        """The timesteps [B] at shares in [0, 1) of all T from the first on."""
        return self.first_timestep + (share * self.timesteps).long()

    def spread_timesteps(self, index: Tensor) -> Tensor:
        """Fixed timesteps, spread evenly however many there are: one for each entry of index."""
        return self.timesteps_at(spread(index))

    def diffuse(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t of x0 and eps [B, 1, S, S, S] at t [B]."""
        theta = (math.pi / 2 / self.timesteps * t.double()).to(x0).reshape(-1, 1, 1, 1, 1)
        return torch.cos(theta) * x0 + torch.sin(theta) * eps


def losses(estimate: tuple[Tensor, Tensor], eps: Tensor, x0: Tensor) -> dict[str, Tensor]:
    """Mean squared errors of noise and signal; their sum is trained (Eq. 3 and 4)."""
    noise = (estimate[0] - eps).square().mean()
    signal = (estimate[1] - x0).square().mean()
    return {"loss": noise + signal, "noise": noise.detach(), "signal": signal.detach()}
