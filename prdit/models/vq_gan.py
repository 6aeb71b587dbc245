"""The VQ-GAN of 3D-LDM (Khader et al., 2023): volumes as grids of vectors, and its discriminators.

Written from a description of the networks, not from their code, which bears no licence.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN = 16
CODES, DIMENSIONS = 16384, 8


def conv(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Conv3d:
    """A convolution whose output has 1 / stride of the edge; edges continue outwards."""
    return nn.Conv3d(
        channels, out, kernel, stride, padding=(kernel - stride) // 2, padding_mode="replicate"
    )


def norm(channels: int) -> nn.GroupNorm:
    """Group norm of 32 groups."""
    return nn.GroupNorm(32, channels, eps=1e-6)


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
    """[B, 1, S, S, S] -> [B, 16 * 2^levels, n, n, n] with n = S / 2^levels."""

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
    """[B, 16 * 2^levels, n, n, n] -> [B, 1, S, S, S], not bounded."""

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
    stages = [nn.Sequential(layer(1, widths[0], 4, 2, 2), nn.LeakyReLU(0.2))]
    for number, (a, b) in enumerate(pairwise(widths)):
        stride = 2 if number < len(widths) - 2 else 1
        stages.append(nn.Sequential(layer(a, b, 4, stride, 2), batch_norm(b), nn.LeakyReLU(0.2)))
    return nn.ModuleList([*stages, layer(widths[-1], 1, 4, 1, 2)])


class Codebook(nn.Module):
    """The vectors that a latent grid may hold; they follow what is encoded, and are not trained."""

    vectors: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, codes: int = CODES, dimensions: int = DIMENSIONS) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(codes, dimensions))
        self.register_buffer("counts", torch.zeros(codes))
        self.register_buffer("sums", torch.zeros(codes, dimensions))

    def nearest(self, h: Tensor) -> Tensor:
        """Number of the nearest vector for each place of h [B, d, n, n, n]: int64 [B, n, n, n]."""
        flat = h.movedim(1, -1)
        return torch.cdist(flat.flatten(0, -2), self.vectors).argmin(1).view(flat.shape[:-1])

    def forward(self, h: Tensor) -> Tensor:
        """h [B, d, n, n, n] with each vector replaced by the nearest one of the book."""
        return self.vectors[self.nearest(h)].movedim(-1, 1)
