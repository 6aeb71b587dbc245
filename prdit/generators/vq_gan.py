"""The first phase of 3D-LDM (Khader et al., 2023): a VQ-GAN, whose latents the second one makes.

Source: the paper and a description of its public code, which bears no licence; written anew. What
differs: see docs/rivals.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss
from torch.optim import Adam, Optimizer

from prdit.diffusion.noise import seeded, uniform
from prdit.errors import UserError
from prdit.generators.base import Generator, Update
from prdit.generators.frozen import frozen
from prdit.generators.weights import fit
from prdit.models import perceptual
from prdit.models.vq_gan import FirstStage, patch_discriminator, places

if TYPE_CHECKING:
    from prdit import config

BETAS = (0.5, 0.9)
LIKENESS, COMMITMENT, PERCEPTUAL, MATCHING = 4.0, 0.25, 4.0, 4.0
"""Weights of the L1 distance, of latents that keep to their vectors, of how unlike slices look, and
of the discriminators' features that are to match."""


class Networks(nn.Module):
    """The first stage, and what judges it in training: slices and volumes."""

    def __init__(self, entry: config.VQGAN) -> None:
        super().__init__()
        self.first = FirstStage(entry.levels, entry.hidden, entry.codes, entry.dimensions)
        widths = [entry.discriminator_width * 2**i for i in range(4)]
        self.of_slices = patch_discriminator(2, widths)
        self.of_volumes = patch_discriminator(3, widths)


class VQGAN(Generator):
    """An autoencoder with a book of vectors in its middle, against two discriminators."""

    network: Networks

    def __init__(self, entry: config.VQGAN) -> None:
        self.entry, self.seed = entry, entry.training.seed
        self.compared: perceptual.Perceptual | None = None
        with seeded(self.seed, "VQ-GAN"):
            self.network = Networks(entry)

    def start_from(self, trained: Generator) -> None:
        fit(self.network, trained.network.state_dict(), "the weights to start from")

    def optimizers(self) -> list[Optimizer]:
        parts, rate = self.network, self.entry.training.learning_rate
        judges = [*parts.of_slices.parameters(), *parts.of_volumes.parameters()]
        self.of_first = Adam(parts.first.parameters(), rate, BETAS, fused=True)
        self.of_judges = Adam(judges, rate, BETAS, fused=True)
        return [self.of_first, self.of_judges]

    def step(self, update: Update) -> dict[str, Tensor]:
        """The autoencoder, its book, then the discriminators."""
        told = update(self.of_first, self.made_again)
        batch = self.entry.training.batch
        counts, sums, fresh = (batch * told.pop(name) for name in ("counts", "sums", "fresh"))
        finite = (told["loss"] + told["gradient"]).isfinite()
        self.network.first.codebook.follow(counts, sums, fresh, finite)
        judged = update(self.of_judges, self.judged)
        gradient = told["gradient"] + judged["gradient"]
        return {**told, "gradient": gradient, "discriminators": judged["loss"]}

    def made_again(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Loss of the autoencoder, and what its book needs to follow."""
        h, again, kept = self.passed(x0)
        likeness, commitment = l1_loss(again, x0), mse_loss(h, kept)
        with frozen(self.network.of_slices), frozen(self.network.of_volumes):
            deceived, matching = self.deceived(x0, again, index)
        loss = LIKENESS * likeness + COMMITMENT * commitment + deceived + MATCHING * matching
        loss = loss + PERCEPTUAL * self.unlike(x0, again, index)
        counts, sums = self.network.first.codebook.used(h.detach())
        return {
            "loss": loss,
            "likeness": likeness,
            "commitment": commitment,
            "counts": counts / len(x0),
            "sums": sums / len(x0),
            "fresh": self.fresh(h.detach(), index) / len(x0),
        }

    def passed(self, x0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Latents, volumes made of them again, and the vectors that stood for them."""
        first = self.network.first
        h = first.encoder(x0)
        kept = first.codebook(h.detach())
        return h, first.decoder(h + (kept - h).detach()), kept

    def deceived(self, x0: Tensor, again: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """How real the discriminators do not find volumes, and how unlike x0 their features are."""
        weight = self.weight(index)
        loss, matching = x0.new_zeros(()), x0.new_zeros(())
        for real, fake in self.both(x0, again, index):
            loss = loss - (weight * fake[-1].flatten(1).mean(1)).mean()
            for its, mine in zip(real[:-1], fake[:-1], strict=True):
                unlike = (mine - its.detach()).abs().flatten(1).mean(1)
                matching = matching + (weight * unlike).mean()
        return loss, matching

    def unlike(self, x0: Tensor, again: Tensor, index: Tensor) -> Tensor:
        """How unlike a slice of each volume looks; 0 if it was not asked for."""
        if self.entry.perceptual is None:
            return x0.new_zeros(())
        if self.compared is None:
            self.compared = perceptual.load(Path(self.entry.perceptual)).to(x0.device)
        found: Tensor = self.compared(self.slices(again, index), self.slices(x0, index)).mean()
        return found

    def judged(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Hinge loss of the discriminators."""
        with torch.no_grad():
            again = self.passed(x0)[1]
        loss = x0.new_zeros(())
        for real, fake in self.both(x0, again, index):
            hinge = (1 - real[-1]).relu().flatten(1).mean(1)
            hinge = hinge + (1 + fake[-1]).relu().flatten(1).mean(1)
            loss = loss + (self.weight(index) * hinge).mean() / 2
        return {"loss": loss}

    def both(
        self, x0: Tensor, again: Tensor, index: Tensor
    ) -> list[tuple[list[Tensor], list[Tensor]]]:
        """What each stage of each discriminator gives for x0 and for volumes made again."""
        of_slices, of_volumes = self.network.of_slices, self.network.of_volumes
        one, two = self.slices(x0, index), self.slices(again, index)
        return [
            (stages(of_slices, one), stages(of_slices, two)),
            (stages(of_volumes, x0), stages(of_volumes, again)),
        ]

    def slices(self, x: Tensor, index: Tensor) -> Tensor:
        """A random axial slice of each volume, the same for the same number: [B, 1, S, S]."""
        where = (uniform(self.seed, "slice", index) * x.shape[2]).long()
        return x[torch.arange(len(x), device=x.device), :, where]

    def weight(self, index: Tensor) -> Tensor:
        """1 once discriminators count, 0 before: [B]."""
        return (index >= self.entry.discriminators_from).float()

    def fresh(self, h: Tensor, index: Tensor) -> Tensor:
        """A random place of the batch for each vector [K, d]; zero where it lies in other volumes.

        Summed over all volumes of a batch, whoever computes them, each vector has its place.
        """
        batch, codes = self.entry.training.batch, self.entry.codes
        number = torch.arange(codes, device=h.device) + index[0] // batch * codes
        chosen = (uniform(self.seed, "volume of a vector", number) * batch).long()
        each = places(h[:1])
        where = (uniform(self.seed, "place of a vector", number) * len(each)).long()
        flat = places(h).view(len(h), len(each), -1)
        mine = chosen[:, None] == (index % batch)[None, :]
        return (flat[:, where] * mine.T[:, :, None]).sum(0)

    def validation(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        return {"likeness": l1_loss(self.passed(x0)[1], x0)}

    def drawing(self, sampler: config.Sampler) -> NoReturn:  # noqa: ARG002
        raise UserError("a VQ-GAN alone draws nothing; name the 3D-LDM that starts from it")


def stages(discriminator: nn.ModuleList, x: Tensor) -> list[Tensor]:
    """What each stage gives; the last is the verdict."""
    found = []
    for stage in discriminator:
        x = stage(x)
        found.append(x)
    return found


def build(entry: config.VQGAN, size: int, base: config.Model | None) -> VQGAN:  # noqa: ARG001
    """A VQ-GAN with initial weights; it has no base."""
    return VQGAN(entry)
