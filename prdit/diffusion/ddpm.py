"""The usual Gaussian diffusion (Ho et al., 2020) with a linear schedule of variances.

x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps with abar_t the product of 1 - beta up to t = 0..T-1.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from prdit.diffusion.samplers import Plan, Step


@dataclass(frozen=True)
class LinearSchedule:
    """beta from `first` to `last` in T even steps."""

    timesteps: int = 1000
    first: float = 1e-4
    last: float = 2e-2

    def kept(self) -> np.ndarray:
        """abar_t, float64 [T]."""
        return np.cumprod(1 - np.linspace(self.first, self.last, self.timesteps))

    def diffuse(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t of x0 and eps [B, ...] at t [B]."""
        kept = torch.from_numpy(self.kept()).to(t.device)[t].to(x0)
        kept = kept.reshape(-1, *[1] * (x0.dim() - 1))
        return kept.sqrt() * x0 + (1 - kept).sqrt() * eps

    def ancestral(self, steps: int) -> Plan:
        """Ancestral sampling from predictions of x0; variances are the larger choice, beta.

        With fewer steps than T, they go from one chosen timestep to the next as if there were no
        others; the last one takes the prediction itself.
        """
        times = self.times(steps)
        kept = [float(self.kept()[t]) for t in times] + [1.0]
        plan = [self._posterior(now, then) for now, then in pairwise(kept)]
        return Plan(times=[*times, -1], steps=plan, prediction=Step(0.0, 1.0, 0.0))

    def times(self, steps: int) -> list[int]:
        """So many timesteps from T - 1 down to 0."""
        if steps == 1:
            return [self.timesteps - 1]
        return [round((self.timesteps - 1) * left / (steps - 1)) for left in reversed(range(steps))]

    @staticmethod
    def _posterior(now: float, then: float) -> Step:
        """From abar = now to abar = then: mean of q(x_then | x_now, x0), deviation sqrt(beta)."""
        alpha = now / then
        beta = 1 - alpha
        of_x0 = then**0.5 * beta / (1 - now)
        of_x = alpha**0.5 * (1 - then) / (1 - now)
        return Step(of_x, of_x0, 0.0, beta**0.5 if then < 1 else 0.0)
