"""What the rivals that are diffusions share: one network, one optimizer, DDPM's timesteps."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from prdit.diffusion.ddpm import Schedule
from prdit.diffusion.noise import normal, uniform
from prdit.diffusion.samplers import walk
from prdit.generators.base import Draw, Generator, Update
from prdit.generators.precision import precision

if TYPE_CHECKING:
    from prdit.config import Sampler


class DDPMGenerator(Generator):
    """Trained at even timesteps of a schedule, drawn by ancestral sampling."""

    schedule: Schedule
    variance: Literal["beta", "posterior"]
    """Of the noise that sampling adds, as `Schedule.ancestral` has it."""
    shape: tuple[int, ...]
    """Of what is diffused, a volume's."""
    optimizer: Optimizer
    seed: int

    @abstractmethod
    def losses_at(
        self, x0: Tensor, index: Tensor, t: Tensor, seed: int, purpose: str
    ) -> dict[str, Tensor]:
        """Losses of volumes at timesteps t [B], with the noise of (seed, purpose, index)."""

    @abstractmethod
    def estimate(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(eps, x0) of what is diffused, x [B, *shape], at timesteps t [B]."""

    @abstractmethod
    def volumes(self, x0: Tensor) -> Tensor:
        """Volumes float32 [B, 1, S, S, S] of what is diffused [B, *shape]."""

    def step(self, update: Update) -> dict[str, Tensor]:
        return update(self.optimizer, self.losses)

    def losses(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        """At random timesteps."""
        t = (uniform(self.seed, "timestep", index) * self.schedule.timesteps).long()
        return self.losses_at(x0, index, t, self.seed, "training noise")

    def validation(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        return self.losses_at(x0, index, self.schedule.spread(index), 0, "validation noise")

    def drawing(self, sampler: Sampler) -> Draw:
        plan = self.schedule.ancestral(sampler.steps, self.variance)

        @torch.inference_mode()
        def draw(index: Tensor, seed: int) -> Tensor:
            def denoise(x: Tensor, number: int) -> tuple[Tensor, Tensor]:
                t = torch.full((len(x),), plan.times[number], device=x.device)
                return self.estimate(x, t)

            def noise(number: int) -> Tensor:
                return normal(seed, "sampling noise", index, self.shape, step=number)

            start = normal(seed, "sampling start", index, self.shape)
            with precision(sampler.precision, index.device)():
                return self.volumes(walk(plan, denoise, start, noise)[0])

        return draw
