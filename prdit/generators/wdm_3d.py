"""WDM-3D (Friedrich et al., 2024): diffusion of a volume's eight Haar bands, predicting them.

Source: the paper and a description of its public code (MIT); written anew. What differs: random
numbers are addressed, the U-Net's width is a key, and EMA weights are used if asked for (the
original has none).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from prdit.diffusion.ddpm import LinearSchedule
from prdit.diffusion.noise import generator, normal, uniform
from prdit.diffusion.process import GOLDEN
from prdit.diffusion.samplers import walk
from prdit.errors import UserError
from prdit.generators.base import Draw, Generator, Update
from prdit.models.wavelets import haar, inverse_haar
from prdit.models.wdm_unet import WaveletUNet

if TYPE_CHECKING:
    from prdit import config

LOWEST = 3.0
"""What the lowest band is divided by: of data in [-1, 1] it reaches 2.83."""


class WDM3D(Generator):
    """Trained on the mean squared error of all bands at even timesteps."""

    network: WaveletUNet

    def __init__(self, entry: config.WDM3D, size: int) -> None:
        self.entry, self.size, self.seed = entry, size, entry.training.seed
        self.network = WaveletUNet(entry.base, entry.multiples)
        self.schedule = LinearSchedule(entry.timesteps)
        for name, module in self.network.named_modules():
            weight = getattr(module, "weight", None)
            if isinstance(weight, Tensor) and weight.dim() > 1 and weight.abs().sum() > 0:
                torch.nn.init.kaiming_uniform_(
                    weight, a=5**0.5, generator=generator(self.seed, f"WDM-3D {name}")
                )

    def start_from(self, trained: Generator) -> None:  # noqa: ARG002
        raise UserError("WDM-3D is trained in one phase; remove start_from")

    def optimizers(self) -> list[Optimizer]:
        rate = self.entry.training.learning_rate
        self.optimizer = AdamW(self.network.parameters(), lr=rate, weight_decay=0.0, fused=True)
        return [self.optimizer]

    def step(self, update: Update) -> dict[str, Tensor]:
        return update(self.optimizer, self.losses)

    def losses(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        """At random timesteps."""
        t = (uniform(self.seed, "timestep", index) * self.schedule.timesteps).long()
        return self._losses_at(x0, index, t, self.seed, "training noise")

    def validation(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        share = (index.double() * GOLDEN + 0.5) % 1
        t = (share * self.schedule.timesteps).long()
        return self._losses_at(x0, index, t, 0, "validation noise")

    def _losses_at(
        self, x0: Tensor, index: Tensor, t: Tensor, seed: int, purpose: str
    ) -> dict[str, Tensor]:
        bands = to_bands(x0)
        eps = normal(seed, purpose, index, tuple(bands.shape[1:]))
        found = self.network(self.schedule.diffuse(bands, eps, t), t)
        return {"loss": (found - bands).square().mean()}

    def drawing(self, sampler: config.Sampler) -> Draw:
        plan = self.schedule.ancestral(min(sampler.steps, self.schedule.timesteps))
        shape = (8, *[self.size // 2] * 3)

        @torch.inference_mode()
        def draw(index: Tensor, seed: int) -> Tensor:
            def denoise(x: Tensor, number: int) -> tuple[Tensor, Tensor]:
                t = torch.full((len(x),), plan.times[number], device=x.device)
                return x, to_bands(from_bands(self.network(x, t)).clamp(-1, 1))

            def noise(number: int) -> Tensor:
                return normal(seed, "sampling noise", index, shape, step=number)

            start = normal(seed, "sampling start", index, shape)
            return from_bands(walk(plan, denoise, start, noise)[0])

        return draw


def to_bands(x: Tensor) -> Tensor:
    """Volumes [B, 1, S, S, S] -> bands [B, 8, S/2, ...], the lowest divided by 3."""
    bands = haar(x)
    return torch.cat([bands[:, :1] / LOWEST, bands[:, 1:]], dim=1)


def from_bands(bands: Tensor) -> Tensor:
    """Undoes `to_bands`."""
    return inverse_haar(torch.cat([bands[:, :1] * LOWEST, bands[:, 1:]], dim=1))


def build(entry: config.WDM3D, size: int, base: config.PRDiT | None) -> WDM3D:  # noqa: ARG001
    """A WDM-3D with initial weights, for volumes of edge `size`; it has no base."""
    return WDM3D(entry, size)
