"""What PRDiT and its high-resolution form share as generators: the process, a step, a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.optim import AdamW, Optimizer

from prdit.diffusion.process import Process, losses
from prdit.generators.base import Generator, Update
from prdit.generators.drawing import Drawing, Network, compile_blocks

if TYPE_CHECKING:
    from prdit import config


class DiffusionGenerator(Generator):
    """A network (x_t, t) -> (eps, x0) on volumes of edge `size`, trained by Eq. 3 and 4."""

    network: Network

    def __init__(
        self, network: Network, size: int, base: config.PRDiT, training: config.Training
    ) -> None:
        self.network, self.size, self.training = network, size, training
        self.process = Process(base.timesteps, base.noise_std, base.first_timestep)

    def optimizers(self) -> list[Optimizer]:
        trained = [p for p in self.network.parameters() if p.requires_grad]
        rate = self.training.learning_rate
        self.optimizer = AdamW(trained, lr=rate, weight_decay=0.0, fused=True)
        return [self.optimizer]

    def step(self, update: Update) -> dict[str, Tensor]:
        return update(self.optimizer, self.losses)

    def losses(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Eq. 3 and 4 at random timesteps."""
        t = self.process.draw_timesteps(self.training.seed, index)
        return self._losses_at(x0, index, t, self.training.seed, "training noise")

    def validation(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        t = self.process.spread_timesteps(index)
        return self._losses_at(x0, index, t, 0, "validation noise")

    def _losses_at(
        self, x0: Tensor, index: Tensor, t: Tensor, seed: int, purpose: str
    ) -> dict[str, Tensor]:
        eps = self.process.noise(seed, purpose, index, self.size)
        return self.terms(self.process.diffuse(x0, eps, t), t, eps, x0)

    def terms(self, x_t: Tensor, t: Tensor, eps: Tensor, x0: Tensor) -> dict[str, Tensor]:
        """ "loss", which is trained, and its parts."""
        return losses(self.network(x_t, t), eps, x0)

    def compile(self) -> None:
        compile_blocks(self.network)

    def drawing(self, sampler: config.Sampler) -> Drawing:
        return Drawing(self.network, self.process, self.size, sampler)
