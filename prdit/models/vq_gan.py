"""The VQ-GAN of 3D-LDM (Khader et al., 2023): volumes as grids of vectors, and its discriminators.

Written from a description of the networks, not from their code, which bears no licence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN = 16
CODES, DIMENSIONS = 16384, 8
DECAY, LAPLACE = 0.99, 1e-7
"""Of the codebook's running means; what smooths their counts."""
AT_ONCE = 8192
"""Places whose distances to all vectors are in memory at a time."""


def conv(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Conv3d:
    """A convolution whose output has 1 / stride of the edge; edges continue outwards."""
    return nn.Conv3d(
        channels, out, kernel, stride, padding=(kernel - stride) // 2, padding_mode="replicate"
    )


def norm(channels: int) -> nn.GroupNorm:
    """Group norm of 32 groups, or fewer where there are fewer channels."""
    return nn.GroupNorm(math.gcd(32, channels), channels, eps=1e-6)


class ResBlock(nn.Module):
    """norm, SiLU, convolution, twice, beside the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(norm(channels), nn.SiLU(), conv(channels, channels, 3)),
            *(norm(channels), nn.SiLU(), conv(channels, channels, 3)),
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.layers(x)
        return found


class Doubled(nn.Module):
    """A transposed convolution to twice the edge, without dark borders."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose3d(channels, out, 4, stride=2, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(F.pad(x, (1,) * 6, mode="replicate"))
        return found


class Encoder(nn.Module):
    """[B, 1, S, S, S] -> [B, hidden * 2^levels, n, n, n] with n = S / 2^levels."""

    def __init__(self, levels: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        widths = [hidden * 2**i for i in range(levels + 1)]
        self.layers = nn.Sequential(
            conv(1, hidden, 3),
            *(nn.Sequential(conv(a, b, 4, 2), ResBlock(b)) for a, b in pairwise(widths)),
            *(norm(widths[-1]), nn.SiLU()),
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found


class Decoder(nn.Module):
    """[B, hidden * 2^levels, n, n, n] -> [B, 1, S, S, S], not bounded."""

    def __init__(self, levels: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        widths = [hidden * 2**levels, *(hidden * 2 ** (levels - i) for i in range(levels))]
        stages = (
            nn.Sequential(Doubled(a, b), ResBlock(b), ResBlock(b)) for a, b in pairwise(widths)
        )
        self.layers = nn.Sequential(norm(widths[0]), nn.SiLU(), *stages, conv(widths[-1], 1, 3))

    def forward(self, h: Tensor) -> Tensor:
        found: Tensor = self.layers(h)
        return found


def patch_discriminator(
    dimensions: int, widths: Sequence[int] = (64, 128, 256, 512)
) -> nn.ModuleList:
    """Stages of a PatchGAN in 2 or 3 dimensions; what each gives is also what features match."""
    kinds = {2: (nn.Conv2d, nn.BatchNorm2d), 3: (nn.Conv3d, nn.BatchNorm3d)}
    layer, batch_norm = kinds[dimensions]
    # Running means would never be used, and one that is not finite would stay so.
    norm_of = partial(batch_norm, track_running_stats=False)
    stages = [nn.Sequential(layer(1, widths[0], 4, 2, 2), nn.LeakyReLU(0.2))]
    for number, (a, b) in enumerate(pairwise(widths)):
        stride = 2 if number < len(widths) - 2 else 1
        stages.append(nn.Sequential(layer(a, b, 4, stride, 2), norm_of(b), nn.LeakyReLU(0.2)))
    return nn.ModuleList([*stages, layer(widths[-1], 1, 4, 1, 2)])


class Codebook(nn.Module):
    """The vectors that a latent grid may hold; they follow what is encoded, and are not trained.

    A vector is a running mean of what it was nearest to. One that is nearest to less than one place
    a step begins anew as a place of the present batch, as nearly all of them do after the first.
    """

    vectors: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, codes: int = CODES, dimensions: int = DIMENSIONS) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.randn(codes, dimensions))
        self.register_buffer("counts", torch.zeros(codes))
        self.register_buffer("sums", torch.zeros(codes, dimensions))

    def nearest(self, flat: Tensor) -> Tensor:
        """Number of the nearest vector to each of flat [n, d]: int64 [n]."""
        parts = flat.float().split(AT_ONCE)
        return torch.cat([torch.cdist(part, self.vectors).argmin(1) for part in parts])

    def forward(self, h: Tensor) -> Tensor:
        """h [B, d, n, n, n] with each vector replaced by the nearest one of the book."""
        flat = places(h)
        return self.vectors[self.nearest(flat)].view_as(h.movedim(1, -1)).movedim(-1, 1)

    def used(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """How many places of h [B, d, n, n, n] each vector is nearest to [K]; their sums [K, d]."""
        flat = places(h).float()
        numbers = self.nearest(flat)
        counts = torch.zeros_like(self.counts).index_add_(0, numbers, torch.ones_like(flat[:, 0]))
        return counts, torch.zeros_like(self.sums).index_add_(0, numbers, flat)

    def follow(self, counts: Tensor, sums: Tensor, fresh: Tensor, finite: Tensor) -> None:
        """Go on by a batch's counts [K] and sums [K, d]; `fresh` [K, d] are for vectors not used.

        Nothing changes unless `finite`.
        """
        averaged = self.counts.lerp(counts, 1 - DECAY)
        summed = self.sums.lerp(sums, 1 - DECAY)
        total = averaged.sum()
        smoothed = (averaged + LAPLACE) / (total + len(counts) * LAPLACE) * total
        dead = (averaged < 1)[:, None]
        vectors = torch.where(dead, fresh, summed / smoothed[:, None])
        for mine, new in (
            (self.vectors, vectors),
            (self.counts, torch.where(averaged < 1, 1.0, averaged)),
            (self.sums, torch.where(dead, fresh, summed)),
        ):
            mine.copy_(torch.where(finite, new, mine))

    def range(self) -> tuple[Tensor, Tensor]:
        """Least and greatest value of all vectors."""
        return self.vectors.min(), self.vectors.max()


def places(h: Tensor) -> Tensor:
    """[B, d, n, n, n] -> [B n^3, d]."""
    return h.movedim(1, -1).flatten(0, -2)


class FirstStage(nn.Module):
    """Volumes [B, 1, S, S, S] as latents [B, d, n, n, n], n = S / 2^levels, and back."""

    def __init__(self, levels: int, hidden: int, codes: int, dimensions: int) -> None:
        super().__init__()
        width = hidden * 2**levels
        self.encoder = nn.Sequential(Encoder(levels, hidden), nn.Conv3d(width, dimensions, 1))
        self.codebook = Codebook(codes, dimensions)
        self.decoder = nn.Sequential(nn.Conv3d(dimensions, width, 1), Decoder(levels, hidden))

    def decode(self, h: Tensor) -> Tensor:
        """Volumes of latents, which are replaced by vectors of the book."""
        found: Tensor = self.decoder(self.codebook(h))
        return found
