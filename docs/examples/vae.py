"""A variational autoencoder (Kingma and Welling, 2014): the least example of a generator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from prdit.config import Entry
from prdit.diffusion.noise import normal, seeded
from prdit.generators.base import Draw, Generator, Update

if TYPE_CHECKING:
    from prdit import config


class Settings(Entry):
    """What `settings` in the config may say; anything else is refused."""

    latent: int = Field(16, ge=1)
    width: int = Field(16, ge=1)
    prior: float = Field(1e-3, ge=0)


class Network(nn.Module):
    """Volumes [B, 1, S, S, S] to a mean and a log variance [B, 2 latent]; latents to volumes."""

    def __init__(self, size: int, latent: int, width: int) -> None:
        super().__init__()
        n = size // 4
        self.encoder = nn.Sequential(
            *(nn.Conv3d(1, width, 4, 2, 1), nn.SiLU()),
            *(nn.Conv3d(width, 2 * width, 4, 2, 1), nn.SiLU()),
            *(nn.Flatten(), nn.Linear(2 * width * n**3, 2 * latent)),
        )
        self.decoder = nn.Sequential(
            *(nn.Linear(latent, 2 * width * n**3), nn.Unflatten(1, (2 * width, n, n, n))),
            *(nn.SiLU(), nn.ConvTranspose3d(2 * width, width, 4, 2, 1)),
            *(nn.SiLU(), nn.ConvTranspose3d(width, 1, 4, 2, 1), nn.Tanh()),
        )


class VAE(Generator):
    """Trained to make volumes again of a little noise around what they are encoded to."""

    network: Network

    def __init__(self, entry: config.Own, size: int) -> None:
        self.training, self.settings = entry.training, Settings(**entry.settings)
        with seeded(entry.training.seed, "VAE"):  # initial weights
            self.network = Network(size, self.settings.latent, self.settings.width)

    def start_from(self, trained: Generator) -> None:
        self.network.load_state_dict(trained.network.state_dict())

    def optimizers(self) -> list[Optimizer]:
        self.optimizer = Adam(self.network.parameters(), self.training.learning_rate, fused=True)
        return [self.optimizer]

    def step(self, update: Update) -> dict[str, Tensor]:
        return update(self.optimizer, self.losses)

    def losses(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Likeness, and how far latents are from the prior; `index` is the address of the noise."""
        mean, log_variance = self.network.encoder(x0).chunk(2, dim=1)
        noise = normal(self.training.seed, "latent", index, (self.settings.latent,))
        again = self.network.decoder(mean + (log_variance / 2).exp() * noise)
        likeness = (again - x0).square().mean()
        prior = (mean.square() + log_variance.exp() - log_variance - 1).mean() / 2
        return {"loss": likeness + self.settings.prior * prior, "likeness": likeness.detach()}

    def drawing(self, sampler: config.Sampler) -> Draw:  # noqa: ARG002
        @torch.inference_mode()
        def draw(index: Tensor, seed: int) -> Tensor:
            z = normal(seed, "sampling start", index, (self.settings.latent,))
            found: Tensor = self.network.decoder(z)
            return found

        return draw


def build(entry: config.Own, size: int, base: config.Model | None) -> VAE:  # noqa: ARG001
    """What the config names."""
    return VAE(entry, size)
