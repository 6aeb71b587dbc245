"""What PRDiT and its high-resolution form share as generators: the process, a step, a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from prdit.diffusion import samplers
from prdit.diffusion.process import Process, losses
from prdit.generators.base import Generator

if TYPE_CHECKING:
    from prdit import config


class DiffusionGenerator(Generator):
    """A network (x_t, t) -> (eps, x0) on volumes of edge `size`, trained by Eq. 3 and 4."""

    def __init__(self, network: nn.Module, size: int, base: config.PRDiT) -> None:
        self.network, self.size = network, size
        self.process = Process(base.timesteps, base.noise_std, base.first_timestep)

    def optimizers(self, training: config.Training) -> list[Optimizer]:
        trained = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = AdamW(trained, lr=training.learning_rate, weight_decay=0.0, fused=True)
        return [self.optimizer]

    def step(self, x0: Tensor, index: Tensor, training: config.Training) -> dict[str, Tensor]:
        t = self.process.draw_timesteps(training.seed, index)
        eps = self.process.noise(training.seed, "training noise", index, self.size)
        found = self.losses(self.process.diffuse(x0, eps, t), t, eps, x0)
        self.optimizer.zero_grad()
        found["loss"].backward()
        changed = self.optimizer.param_groups[0]["params"]
        found["gradient"] = torch.nn.utils.clip_grad_norm_(changed, training.clip, foreach=True)
        self.optimizer.step()
        return {name: value.detach() for name, value in found.items()}

    def losses(self, x_t: Tensor, t: Tensor, eps: Tensor, x0: Tensor) -> dict[str, Tensor]:
        """ "loss", which is trained, and its parts."""
        return losses(self.network(x_t, t), eps, x0)

    @torch.inference_mode()
    def sample(self, index: Tensor, seed: int, sampler: config.Sampler) -> Tensor:
        def noise(step: int) -> Tensor:
            return self.process.noise(seed, "sampling noise", index, self.size, step)

        def denoise(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
            eps, x0 = self.network(x, torch.full((len(x),), t, device=x.device))
            return eps.float(), x0.float()

        start = self.process.noise(seed, "sampling start", index, self.size)
        evenly = sampler.schedule == "even"
        plan = samplers.schedule if evenly else samplers.released_schedule
        times = plan(self.process.timesteps, sampler.steps)
        walk: samplers.Sampler = getattr(samplers, sampler.kind)
        state, x0 = walk(denoise, start, times, self.process, k=sampler.k, noise=noise)
        return state if sampler.output == "state" else x0
