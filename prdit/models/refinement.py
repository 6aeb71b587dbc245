"""High resolution from a low-resolution PRDiT (section 3.4, Figure 3, A.8)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prdit.models.embeddings import TimeEmbedding
from prdit.models.initialisation import initialise
from prdit.models.local_denoiser import LocalDenoiser
from prdit.models.patches import assemble, extract
from prdit.models.prdit import Estimate, PRDiT

FACTOR = 2
"""Volumes have this many times the edge of the base's."""


def nearest_down(x: Tensor) -> Tensor:
    """The first voxel of each block of 2^3: noise keeps the variance that the base was trained on.

    An average would divide it by 8.
    """
    return x[..., ::FACTOR, ::FACTOR, ::FACTOR]


def nearest_up(x: Tensor) -> Tensor:
    """Each voxel as a block of 2^3: for noise, whose variance stays."""
    return F.interpolate(x, scale_factor=FACTOR, mode="nearest")


def trilinear_up(x: Tensor) -> Tensor:
    """Interpolated between voxel centres: for the signal, which is smooth."""
    return F.interpolate(x, scale_factor=FACTOR, mode="trilinear", align_corners=False)


class RefinedPRDiT(nn.Module):
    """The base's estimates, upsampled, plus residuals by a Local Denoiser at high resolution.

    Args:
        base: PRDiT of half the edge.
        size: edge of the volumes; a multiple of `stride`.
        patch, stride: of the refinement (A.8.1: 12 and 8).
        width: of the refinement's time embedding.
        sees_estimate: gives the refinement the upsampled signal as a second channel.
    """

    def __init__(
        self,
        base: PRDiT,
        size: int,
        *,
        patch: int,
        stride: int,
        width: int,
        sees_estimate: bool,
    ) -> None:
        super().__init__()
        self.base = base
        self.patch, self.stride, self.sees_estimate = patch, stride, sees_estimate
        self.grid = (size // stride,) * 3
        v = patch**3 * (2 if sees_estimate else 1)
        self.time = TimeEmbedding(width, v, with_global=False)
        self.refinement = LocalDenoiser(v, 2 * stride**3)

    def forward(self, x_t: Tensor, t: Tensor | list[Tensor]) -> Estimate:
        """x_t [B, 1, S, S, S] and t [B], or what `modulations` made of it -> (eps, x0)."""
        return self.refined(x_t, self.modulations(t) if isinstance(t, Tensor) else t)[0]

    def modulations(self, t: Tensor) -> list[Tensor]:
        """All that depends on t [B] alone: the base's, then the refinement's."""
        return [*self.base.modulations(t), self.refinement.modulations(self.time(t)[0])]

    def refined(self, x_t: Tensor, modulations: list[Tensor]) -> tuple[Estimate, Estimate]:
        """The estimate, and the base's at low resolution that it was made from."""
        *of_base, mine = modulations
        eps_low, x0_low = self.base(nearest_down(x_t), of_base)
        eps_up, x0_up = nearest_up(eps_low), trilinear_up(x0_low)
        seen = torch.cat([x_t, x0_up], dim=1) if self.sees_estimate else x_t
        tokens = self.refinement(extract(seen, self.patch, self.stride), mine)
        eps, x0 = assemble(tokens, self.grid, self.stride).chunk(2, dim=1)
        return (eps_up + eps, x0_up + x0), (eps_low, x0_low)

    def initialise(self, seed: int) -> None:
        """Initial weights of all but the base, which keeps its own; the refinement adds nothing."""
        kept = {name: value.clone() for name, value in self.base.state_dict().items()}
        initialise(self, self.refinement.zero_initialised(), seed, gain=1.0)
        self.base.load_state_dict(kept)


def consistency(high: Estimate, low: Estimate) -> Tensor:
    """Mean squared error of downsampled against low-resolution estimates (section 3.4).

    The paper gives no formula: here nearest downsampling, the only one it names, of both.
    """
    pairs = zip(high, low, strict=True)
    return torch.stack([(nearest_down(h) - el).square().mean() for h, el in pairs]).sum()
