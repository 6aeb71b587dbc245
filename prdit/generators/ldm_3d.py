"""The second phase of 3D-LDM (Khader et al., 2023): diffusion of the latents of a VQ-GAN.

Source: the paper and a description of its public code, which bears no licence; written anew. What
differs: see docs/rivals.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss
from torch.optim import Adam, Optimizer

from prdit.config import VQGAN
from prdit.diffusion.ddpm import cosine
from prdit.diffusion.noise import normal, seeded
from prdit.errors import UserError
from prdit.generators.base import Generator
from prdit.generators.ddpm import DDPMGenerator
from prdit.generators.weights import fit
from prdit.models.latent_unet import LatentUNet
from prdit.models.vq_gan import FirstStage

if TYPE_CHECKING:
    from prdit import config


class Networks(nn.Module):
    """The first stage, which stays as it is, and the U-Net."""

    def __init__(self, entry: config.LDM3D, base: VQGAN) -> None:
        super().__init__()
        self.first = FirstStage(base.levels, base.hidden, base.codes, base.dimensions)
        self.first.requires_grad_(False)
        self.unet = LatentUNet(entry.width, base.dimensions, tuple(entry.multiples))


class LDM3D(DDPMGenerator):
    """Trained on the absolute error of the noise at even timesteps."""

    network: Networks
    variance = "posterior"

    def __init__(self, entry: config.LDM3D, size: int, base: VQGAN) -> None:
        self.entry, self.seed = entry, entry.training.seed
        self.schedule = cosine(entry.timesteps)
        self.shape = (base.dimensions, *[size // 2**base.levels] * 3)
        with seeded(self.seed, "3D-LDM"):
            self.network = Networks(entry, base)

    def start_from(self, trained: Generator) -> None:
        """From a VQ-GAN, or from a 3D-LDM to train on."""
        mine: nn.Module = self.network
        its: nn.Module = trained.network
        if not isinstance(its, Networks):
            mine, its = self.network.first, its.first  # type: ignore[assignment]
        fit(mine, its.state_dict(), "the weights to start from")

    def optimizers(self) -> list[Optimizer]:
        rate = self.entry.training.learning_rate
        trained = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = Adam(trained, rate, fused=True)
        return [self.optimizer]

    def losses_at(
        self, x0: Tensor, index: Tensor, t: Tensor, seed: int, purpose: str
    ) -> dict[str, Tensor]:
        with torch.no_grad():
            h = self.scaled(self.network.first.encoder(x0).float())
        eps = normal(seed, purpose, index, self.shape)
        return {"loss": l1_loss(self.network.unet(self.schedule.diffuse(h, eps, t), t), eps)}

    def scaled(self, h: Tensor) -> Tensor:
        """Latents, before they are replaced by vectors, so that those span [-1, 1]."""
        low, high = self.network.first.codebook.range()
        return (h - low) / (high - low) * 2 - 1

    def unscaled(self, h: Tensor) -> Tensor:
        """Undoes `scaled`."""
        low, high = self.network.first.codebook.range()
        return (h + 1) / 2 * (high - low) + low

    def estimate(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        eps = self.network.unet(x, t).float()
        return eps, self.schedule.undone(x, eps, t).clamp(-1, 1)

    def volumes(self, x0: Tensor) -> Tensor:
        found: Tensor = self.network.first.decode(self.unscaled(x0)).float()
        return found


def build(entry: config.LDM3D, size: int, base: config.Model | None) -> LDM3D:
    """A 3D-LDM with initial weights, for volumes of edge `size`."""
    if not isinstance(base, VQGAN):
        raise UserError("a 3D-LDM needs a VQ-GAN; name it in start_from")
    return LDM3D(entry, size, base)
