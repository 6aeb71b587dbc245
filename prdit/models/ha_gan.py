"""The networks of HA-GAN (Sun et al., 2022): full volumes from sub-volumes of their features.

Written from a description of the networks, not from their code, which bears no licence. Axis 0 of
a volume, from feet to head, is the one that sub-volumes are cut along.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils.parametrizations import spectral_norm

LATENT = 1024
WIDTH = 32
SLOPE = 0.2


def block(channels: int, out: int, *, up: bool = False) -> nn.Sequential:
    """Nearest upsampling if asked for, convolution, group norm of 8, ReLU."""
    first = [nn.Upsample(scale_factor=2)] if up else []
    return nn.Sequential(*first, nn.Conv3d(channels, out, 3, padding=1), norm(out), nn.ReLU())


def norm(channels: int) -> nn.GroupNorm:
    """Group norm of 8 groups, or fewer where there are fewer channels."""
    return nn.GroupNorm(math.gcd(8, channels), channels)


class Generator(nn.Module):
    """z [B, latent] -> volumes [B, 1, S, S, S] and small ones [B, 1, S/4, S/4, S/4], in [-1, 1].

    Args:
        size: edge S: 16, 32, 64, 128 or 256.
    """

    def __init__(self, size: int, width: int = WIDTH, latent: int = LATENT) -> None:
        super().__init__()
        c = width
        channels = [16 * c, 16 * c, 16 * c, 8 * c, 4 * c, 2 * c]
        doublings = int(math.log2(size)) - 4  # of the trunk, whose features have edge S / 4
        self.start = nn.Linear(latent, channels[0] * 4**3)
        self.trunk = nn.Sequential(
            *(block(a, b, up=0 < i <= doublings) for i, (a, b) in enumerate(pairwise(channels)))
        )
        self.high = nn.Sequential(
            block(2 * c, c, up=True), nn.Upsample(scale_factor=2), nn.Conv3d(c, 1, 3, padding=1)
        )
        self.low = nn.Sequential(
            block(2 * c, c), block(c, c // 2), nn.Conv3d(c // 2, 1, 3, padding=1)
        )

    def features(self, z: Tensor) -> Tensor:
        """[B, 2c, S/4, S/4, S/4], G^A."""
        found: Tensor = self.trunk(self.start(z).reshape(len(z), -1, 4, 4, 4))
        return found

    def volume(self, features: Tensor) -> Tensor:
        """G^H: the volume of all features, or of a slab of them."""
        return torch.tanh(self.high(features))

    def small(self, features: Tensor) -> Tensor:
        """G^L, at a quarter of the edge."""
        return torch.tanh(self.low(features))

    def forward(self, z: Tensor) -> Tensor:
        return self.volume(self.features(z))


class Discriminator(nn.Module):
    """Logit of slabs [B, 1, S/8, S, S] with their places [B] in 0..1, and of small volumes.

    Args:
        size: edge S: 16, 32, 64, 128 or 256.
    """

    def __init__(self, size: int, width: int = WIDTH) -> None:
        super().__init__()
        self.high = nn.ModuleList(map(spectral_norm, slab_layers(size, width)))
        last = 4 * width
        self.place_1 = spectral_norm(nn.Linear(last + 1, 2 * width))
        self.place_2 = spectral_norm(nn.Linear(2 * width, 1))
        self.low = nn.ModuleList(map(spectral_norm, small_layers(size, width)))

    def forward(self, slab: Tensor, small: Tensor, place: Tensor) -> Tensor:
        """[B]: the mean of both logits."""
        h = slab
        for layer in self.high:
            h = nn.functional.leaky_relu(layer(h), SLOPE)
        h = torch.cat([h.flatten(1), place[:, None]], dim=1)
        high = self.place_2(nn.functional.leaky_relu(self.place_1(h), SLOPE))
        low = small
        for layer in self.low[:-1]:
            low = nn.functional.leaky_relu(layer(low), SLOPE)
        found: Tensor = (high.flatten() + self.low[-1](low).flatten()) / 2
        return found


def slab_layers(size: int, c: int) -> list[nn.Module]:
    """Convolutions of D^H down to one voxel."""

    def flat(a: int, b: int, last: bool = False) -> nn.Module:
        if last:
            return nn.Conv3d(a, b, (1, 4, 4))
        return nn.Conv3d(a, b, (1, 4, 4), (1, 2, 2), (0, 1, 1))

    def half(a: int, b: int) -> nn.Module:
        return nn.Conv3d(a, b, (2, 4, 4), 2, (0, 1, 1))

    def whole(a: int, b: int) -> nn.Module:
        return nn.Conv3d(a, b, 4, 2, 1)

    if size == 16:
        return [whole(1, 2 * c), half(2 * c, 4 * c), flat(4 * c, 4 * c, last=True)]
    if size == 32:
        return [whole(1, c), half(c, 2 * c), flat(2 * c, 4 * c), flat(4 * c, 4 * c, last=True)]
    if size == 64:
        layers = [whole(1, c), whole(c, 2 * c), half(2 * c, 4 * c), flat(4 * c, 8 * c)]
        return [*layers, flat(8 * c, 4 * c, last=True)]
    first = [whole(1, c // 2), whole(c // 2, c)] if size == 256 else [whole(1, c)]
    layers = [*first, whole(c, 2 * c), half(2 * c, 4 * c), half(4 * c, 8 * c)]
    return [*layers, flat(8 * c, 16 * c), flat(16 * c, 4 * c, last=True)]


def small_layers(size: int, c: int) -> list[nn.Module]:
    """Convolutions of D^L, of volumes of a quarter of the edge."""
    chain = [1, *halved(size, c)]
    layers: list[nn.Module] = [nn.Conv3d(a, b, 4, 2, 1) for a, b in pairwise(chain)]
    return [*layers, nn.Conv3d(chain[-1], 1, 4)]


def halved(size: int, c: int) -> list[int]:
    """Channels after each halving of a quarter of the edge down to 4."""
    return [8 * c, 4 * c, 2 * c, c][: int(math.log2(size)) - 4][::-1]


def halving(channels: int, out: int) -> nn.Sequential:
    """Convolution with stride 2, group norm of 8, ReLU."""
    return nn.Sequential(nn.Conv3d(channels, out, 4, 2, 1), norm(out), nn.ReLU())


class SlabEncoder(nn.Module):
    """E^H: slabs [B, 1, d, S, S] -> features like those of G^A, [B, 2c, d/4, S/4, S/4]."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            halving(1, width), block(width, width), halving(width, 2 * width)
        )

    def forward(self, slab: Tensor) -> Tensor:
        found: Tensor = self.layers(slab)
        return found


class VolumeEncoder(nn.Module):
    """E^G: features [B, 2c, S/4, S/4, S/4] -> z [B, latent]."""

    def __init__(self, size: int, width: int = WIDTH, latent: int = LATENT) -> None:
        super().__init__()
        chain = [2 * width, *halved(size, width)]
        stages = (halving(a, b) for a, b in pairwise(chain))
        self.layers = nn.Sequential(*stages, nn.Conv3d(chain[-1], latent, 4))

    def forward(self, features: Tensor) -> Tensor:
        found: Tensor = self.layers(features)
        return found.flatten(1)


def shrunk(x: Tensor) -> Tensor:
    """Volumes at a quarter of their edge, by the nearest voxel."""
    return interpolate(x, scale_factor=0.25, mode="nearest")
