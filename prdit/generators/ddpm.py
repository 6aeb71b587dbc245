"""What the rivals that are diffusions share: one network, one optimizer, DDPM's timesteps."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor
from torch.optim import Optimizer

from prdit.diffusion.ddpm import Schedule
from prdit.diffusion.noise import uniform
from prdit.generators.base import Generator, Update


class DDPMGenerator(Generator):
    """Trained at even timesteps of a schedule."""

    schedule: Schedule
    optimizer: Optimizer
    seed: int

    @abstractmethod
    def losses_at(
        self, x0: Tensor, index: Tensor, t: Tensor, seed: int, purpose: str
    ) -> dict[str, Tensor]:
        """Losses of volumes at timesteps t [B], with the noise of (seed, purpose, index)."""

    def step(self, update: Update) -> dict[str, Tensor]:
        return update(self.optimizer, self.losses)

    def losses(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        """At random timesteps."""
        t = (uniform(self.seed, "timestep", index) * self.schedule.timesteps).long()
        return self.losses_at(x0, index, t, self.seed, "training noise")

    def validation(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        return self.losses_at(x0, index, self.schedule.spread(index), 0, "validation noise")
