"""A WGAN-GP critic (A.9.3; Gulrajani et al., 2017), trained by the loop that trains generators."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from prdit.diffusion.noise import generator, uniform
from prdit.generators.base import Trainable, Update

if TYPE_CHECKING:
    from prdit.config import Critic as Entry

WIDEST = 512
BETAS = (0.5, 0.999)


def network(size: int, width: int) -> nn.Sequential:
    """[B, 1, S, S, S] -> [B, 1, 1, 1, 1]: strided convolutions down to 4^3, then one over all.

    Channels double from `width` to 512 at most; no norm after the first convolution.

    Args:
        size: 4 times a power of two.
    """
    layers: list[nn.Module] = []
    channels = 1
    for stage in range(int(math.log2(size)) - 2):
        wider = min(width * 2**stage, WIDEST)
        layers.append(nn.Conv3d(channels, wider, 4, stride=2, padding=1))
        if stage:
            layers.append(nn.InstanceNorm3d(wider, affine=True))
        layers.append(nn.LeakyReLU(0.2))
        channels = wider
    return nn.Sequential(*layers, nn.Conv3d(channels, 1, 4))


class Critic(Trainable):
    """f, whose mean over real minus that over generated volumes is their distance (Eq. 9)."""

    def __init__(self, entry: Entry, size: int) -> None:
        self.entry, self.seed = entry, entry.training.seed
        self.network = network(size, entry.width)
        for name, parameter in self.network.named_parameters():
            if parameter.dim() > 1:
                stream = generator(self.seed, f"critic {name}")
                nn.init.kaiming_uniform_(parameter, math.sqrt(5), generator=stream)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def optimizers(self) -> list[Optimizer]:
        rate = self.entry.training.learning_rate
        self.optimizer = torch.optim.Adam(self.network.parameters(), rate, BETAS, fused=True)
        return [self.optimizer]

    def step(self, update: Update) -> dict[str, Tensor]:
        return update(self.optimizer, self.losses)

    def losses(self, pairs: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Eq. 10, minimised.

        Args:
            pairs: [B, 2, S, S, S], a real and a generated volume each.
            index: [B], their numbers, which the interpolates depend on.
        """
        real, generated = pairs.split(1, dim=1)
        share = uniform(self.seed, "interpolate", index).float().view(-1, 1, 1, 1, 1)
        between = (share * real + (1 - share) * generated).requires_grad_()
        (slope,) = torch.autograd.grad(self.network(between).sum(), between, create_graph=True)
        penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        distance = self.distance(real, generated)
        return {
            "loss": self.entry.penalty * penalty - distance,
            "distance": distance,
            "penalty": penalty,
        }

    def validation(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        real, generated = x0.split(1, dim=1)
        return {"distance": self.distance(real, generated)}

    def distance(self, real: Tensor, generated: Tensor) -> Tensor:
        """Mean of f over real minus that over generated volumes [B, 1, S, S, S] (Eq. 9)."""
        found: Tensor = self.network(real).mean() - self.network(generated).mean()
        return found
