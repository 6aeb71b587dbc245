"""HA-GAN (Sun et al., 2022): a GAN that is trained on slabs and draws whole volumes.

Source: the paper and a description of its public code, which bears no licence; written anew. What
differs: see docs/rivals.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss
from torch.nn.utils.parametrize import is_parametrized
from torch.optim import Adam, Optimizer

from prdit.diffusion.noise import normal, seeded, uniform
from prdit.errors import UserError
from prdit.generators.base import Draw, Generator, Losses, Update
from prdit.generators.frozen import frozen
from prdit.generators.precision import precision
from prdit.models import ha_gan as parts

if TYPE_CHECKING:
    from prdit import config

BETAS = (0.0, 0.999)
PASSES = 3
"""Of the discriminator in a step: real volumes, generated ones, and those of the generator."""
LEAST = 4
"""Slices of a slab: one of the features."""


class Networks(nn.Module):
    """All four; sampling needs the generator alone."""

    def __init__(self, size: int, width: int, latent: int) -> None:
        super().__init__()
        self.generator = parts.Generator(size, width, latent)
        self.discriminator = parts.Discriminator(size, width)
        self.slab_encoder = parts.SlabEncoder(width)
        self.volume_encoder = parts.VolumeEncoder(size, width, latent)


class HAGAN(Generator):
    """Four networks with an optimizer each; the encoders tie the generator to real volumes."""

    network: Networks

    def __init__(self, entry: config.HAGAN, size: int) -> None:
        self.entry, self.size, self.seed = entry, size, entry.training.seed
        self.thick = max(size // 8, LEAST)
        with seeded(self.seed, "HA-GAN"):
            self.network = Networks(size, entry.width, entry.latent)

    def start_from(self, trained: Generator) -> None:  # noqa: ARG002
        raise UserError("HA-GAN is trained in one phase; remove start_from")

    def optimizers(self) -> list[Optimizer]:
        rate = self.entry.training.learning_rate
        rates = {"discriminator": self.entry.discriminator_rate}
        self.steps: dict[str, Optimizer] = {
            name: Adam(part.parameters(), rates.get(name, rate), BETAS, fused=True)
            for name, part in self.network.named_children()
        }
        return list(self.steps.values())

    def step(self, update: Update) -> dict[str, Tensor]:
        """Discriminator, generator, encoder of slabs, encoder of volumes: in this order."""
        losses: dict[str, Losses] = {
            "discriminator": self.judged,
            "generator": self.deceived,
            "slab_encoder": self.slab_again,
            "volume_encoder": self.volume_again,
        }
        self.settle()
        found = {name: update(self.steps[name], loss) for name, loss in losses.items()}
        told = {name: one["loss"] for name, one in found.items()}
        gradient = torch.stack([one["gradient"] for one in found.values()]).sum()
        return {"loss": torch.stack(list(told.values())).sum(), "gradient": gradient, **told}

    def settle(self) -> None:
        """Bring spectral norms on by as many power steps as a step has passes; then they stay.

        Were they to move with each pass, micro-batches and processes would change a training.
        """
        judge = self.network.discriminator
        judge.train()
        with torch.no_grad():
            for layer in judge.modules():
                for _ in range(PASSES if is_parametrized(layer) else 0):
                    _ = layer.weight  # making it is a power step
        judge.eval()

    def judged(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Loss of the discriminator: real volumes are 1, generated ones 0."""
        start = self.slab_starts(index)
        with torch.no_grad():
            slab, small = self.generated("discriminator", index, start)
        real = self.logits(self.slabs(x0, start), parts.shrunk(x0), start)
        fake = self.logits(slab, small, start)
        ones = torch.ones_like(real)
        loss = binary_cross_entropy_with_logits(real, ones)
        return {"loss": loss + binary_cross_entropy_with_logits(fake, 0 * ones)}

    def deceived(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """Loss of the generator: its volumes are taken for real."""
        start = self.slab_starts(index)
        with frozen(self.network.discriminator):
            fake = self.logits(*self.generated("generator", index, start), start)
        return {"loss": binary_cross_entropy_with_logits(fake, torch.ones_like(fake))}

    def slab_again(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Loss of the slab encoder: its slab, generated again."""
        slab = self.slabs(x0, self.slab_starts(index))
        with frozen(self.network.generator):
            again = self.network.generator.volume(self.network.slab_encoder(slab))
        return {"loss": l1_loss(again, slab)}

    def volume_again(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Loss of the volume encoder: a slab of its volume, and the small one, generated again."""
        start, made = self.slab_starts(index), self.network.generator
        with torch.no_grad():
            slabs = x0.split(self.thick, dim=2)
            encoded = torch.cat([self.network.slab_encoder(slab) for slab in slabs], dim=2)
        with frozen(made):
            features = made.features(self.network.volume_encoder(encoded))
            high = made.volume(self.cut(features, start // 4, self.thick // 4))
            small = made.small(features)
        loss = l1_loss(high, self.slabs(x0, start)) + l1_loss(small, parts.shrunk(x0))
        return {"loss": loss / 2}

    def generated(self, purpose: str, index: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Slabs from `start` on, and small volumes, of fresh latents."""
        z = normal(self.seed, f"latent of the {purpose}", index, (self.entry.latent,))
        made = self.network.generator
        features = made.features(z)
        cut = self.cut(features, start // 4, self.thick // 4)
        return made.volume(cut), made.small(features)

    def logits(self, slab: Tensor, small: Tensor, start: Tensor) -> Tensor:
        """Of the discriminator, [B]."""
        place = start.float() / (self.size - self.thick)
        found: Tensor = self.network.discriminator(slab, small, place)
        return found

    def slab_starts(self, index: Tensor) -> Tensor:
        """First slice of the slab of each volume [B]: one for all of a batch."""
        batch = index // self.entry.training.batch
        most = self.size - self.thick
        return (uniform(self.seed, "slab", batch) * (most + 1)).long()

    def slabs(self, x: Tensor, start: Tensor) -> Tensor:
        """[B, 1, S/8, S, S] of volumes [B, 1, S, S, S]; of 4 slices at least."""
        return self.cut(x, start, self.thick)

    @staticmethod
    def cut(x: Tensor, start: Tensor, count: int) -> Tensor:
        """So many slices of each of x [B, C, D, H, W], from `start` [B] on."""
        return torch.stack(
            [one[:, s : s + count] for one, s in zip(x, start.tolist(), strict=True)]
        )

    def drawing(self, sampler: config.Sampler) -> Draw:
        """One pass, however many steps the sampler has."""

        @torch.inference_mode()
        def draw(index: Tensor, seed: int) -> Tensor:
            z = normal(seed, "sampling start", index, (self.entry.latent,))
            with precision(sampler.precision, index.device)():
                found: Tensor = self.network.generator(z)
            return found.float()

        return draw


def build(entry: config.HAGAN, size: int, base: config.Model | None) -> HAGAN:  # noqa: ARG001
    """An HA-GAN with initial weights, for volumes of edge `size`; it has no base."""
    return HAGAN(entry, size)
