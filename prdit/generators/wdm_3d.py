"""WDM-3D (Friedrich et al., 2024): diffusion of a volume's eight Haar bands, predicting them.

Source: the paper and a description of its public code (MIT); written anew. What differs: see
docs/rivals.md.
"""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from prdit.diffusion.ddpm import linear
from prdit.diffusion.noise import normal, seeded
from prdit.errors import UserError
from prdit.generators.base import Generator
from prdit.generators.ddpm import DDPMGenerator
from prdit.models.wavelets import haar, inverse_haar
from prdit.models.wdm_unet import WaveletUNet

if TYPE_CHECKING:
    from prdit import config

LOWEST = 3.0
"""What the lowest band is divided by: of data in [-1, 1] it reaches 2.83."""


class WDM3D(DDPMGenerator):
    """Trained on the mean squared error of all bands at even timesteps."""

    network: WaveletUNet
    variance = "beta"

    def __init__(self, entry: config.WDM3D, size: int) -> None:
        self.entry, self.seed = entry, entry.training.seed
        self.schedule = linear(entry.timesteps)
        self.shape = (8, *[size // 2] * 3)
        with seeded(self.seed, "WDM-3D"):
            self.network = WaveletUNet(entry.base, entry.multiples)

    def start_from(self, trained: Generator) -> None:  # noqa: ARG002
        raise UserError("WDM-3D is trained in one phase; remove start_from")

    def optimizers(self) -> list[Optimizer]:
        rate = self.entry.training.learning_rate
        self.optimizer = AdamW(self.network.parameters(), lr=rate, weight_decay=0.0, fused=True)
        return [self.optimizer]

    def losses_at(
        self, x0: Tensor, index: Tensor, t: Tensor, seed: int, purpose: str
    ) -> dict[str, Tensor]:
        bands = to_bands(x0)
        eps = normal(seed, purpose, index, tuple(bands.shape[1:]))
        found = self.network(self.schedule.diffuse(bands, eps, t), t)
        return {"loss": (found - bands).square().mean()}

    def from_authors(self, state: dict[str, Any], file: Path) -> dict[str, Tensor]:
        """By order and shape: names are theirs, but the order of layers is the same."""
        wanted = self.network.state_dict()
        theirs = [(name, value) for name, value in state.items() if isinstance(value, Tensor)]
        if not theirs:
            raise UserError(f"{file} has no tensors at its top level; save the weights alone")
        for (name, mine), (its_name, its) in zip_longest(
            wanted.items(), theirs, fillvalue=("nothing", torch.empty(0))
        ):
            if mine.numel() != its.numel() or mine.squeeze().shape != its.squeeze().shape:
                raise UserError(
                    f"{file} does not fit: where {name} {tuple(mine.shape)} is due, it has"
                    f" {its_name} {tuple(its.shape)}; look at `base` and `multiples`"
                )
        pairs = zip(wanted.items(), theirs, strict=True)
        return {name: its.float().reshape(mine.shape) for (name, mine), (_, its) in pairs}

    def estimate(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """x in place of eps: this sampling has no use for it."""
        found = self.network(x, t).float()
        return x, to_bands(from_bands(found).clamp(-1, 1))

    def volumes(self, x0: Tensor) -> Tensor:
        return from_bands(x0)


def to_bands(x: Tensor) -> Tensor:
    """Volumes [B, 1, S, S, S] -> bands [B, 8, S/2, ...], the lowest divided by 3."""
    bands = haar(x)
    return torch.cat([bands[:, :1] / LOWEST, bands[:, 1:]], dim=1)


def from_bands(bands: Tensor) -> Tensor:
    """Undoes `to_bands`."""
    return inverse_haar(torch.cat([bands[:, :1] * LOWEST, bands[:, 1:]], dim=1))


def build(entry: config.WDM3D, size: int, base: config.Model | None) -> WDM3D:  # noqa: ARG001
    """A WDM-3D with initial weights, for volumes of edge `size`; it has no base."""
    return WDM3D(entry, size)
