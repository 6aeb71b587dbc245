"""PRDiT and its stage 1 as a generator (sections 3.1 to 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from prdit.diffusion.process import Process, losses
from prdit.diffusion.samplers import predictor_corrector, schedule
from prdit.errors import UserError
from prdit.generators.base import Generator
from prdit.models.prdit import PRDiT

if TYPE_CHECKING:
    from prdit import config


class PRDiTGenerator(Generator):
    """Stage 1 at depth 0; at any other depth, stage 2 on a frozen stage 1."""

    network: PRDiT

    def __init__(self, entry: config.PRDiT, size: int) -> None:
        self.entry, self.size = entry, size
        self.process = Process(entry.timesteps, entry.noise_std)
        self.network = PRDiT(
            size,
            patch=entry.patch,
            stride=entry.stride,
            width=entry.width,
            heads=entry.heads,
            depth=entry.depth,
        )
        gain = 1.0 if entry.depth == 0 else entry.start_gain
        self.network.initialise(entry.training.seed, gain)

    def start_from(self, trained: Generator) -> None:
        mine = self.network.local_parameters()
        its = dict(trained.network.named_parameters())
        for name, parameter in mine.items():
            if name not in its or its[name].shape != parameter.shape:
                raise UserError(
                    f"the stage-1 weights do not fit: {name} is missing or of another shape;"
                    " train stage 1 with the same width, patch and stride"
                )
            parameter.data.copy_(its[name])
            parameter.requires_grad_(self.entry.depth == 0)

    def optimizers(self, training: config.Training) -> list[Optimizer]:
        trained = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = AdamW(trained, lr=training.learning_rate, weight_decay=0.0, fused=True)
        return [self.optimizer]

    def step(self, x0: Tensor, index: Tensor, training: config.Training) -> dict[str, Tensor]:
        t = self.process.draw_timesteps(training.seed, index)
        eps = self.process.noise(training.seed, "training noise", index, self.size)
        found = losses(self.network(self.process.diffuse(x0, eps, t), t), eps, x0)
        self.optimizer.zero_grad()
        found["loss"].backward()
        changed = self.optimizer.param_groups[0]["params"]
        found["gradient"] = torch.nn.utils.clip_grad_norm_(changed, training.clip, foreach=True)
        self.optimizer.step()
        return {name: value.detach() for name, value in found.items()}

    @torch.inference_mode()
    def sample(self, index: Tensor, seed: int, sampler: config.Sampler) -> Tensor:
        def noise(step: int) -> Tensor:
            return self.process.noise(seed, "sampling noise", index, self.size, step)

        def denoise(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
            eps, x0 = self.network(x, torch.full((len(x),), t, device=x.device))
            return eps, x0

        start = self.process.noise(seed, "sampling start", index, self.size)
        times = schedule(self.entry.timesteps, sampler.steps)
        return predictor_corrector(denoise, start, times, self.process, k=sampler.k, noise=noise)


def build(entry: config.PRDiT, size: int) -> PRDiTGenerator:
    """A PRDiT with initial weights, for volumes of edge `size`."""
    return PRDiTGenerator(entry, size)
