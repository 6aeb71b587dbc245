"""The pseudo-3D U-Net of 3D-LDM (after Ho et al., 2022): in-plane convolutions, attention in depth.

Written from a description of the network, not from its code. Depth is never halved.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prdit.models.embeddings import sinusoid

HEADS, HEAD = 8, 32
BUCKETS, FARTHEST = 32, 32
"""Of the relative positions along the depth."""


class ChannelNorm(nn.Module):
    """Each place's channels to mean 0 and variance 1, times a trained factor."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, D, H, W], normed over C."""
        mean = x.mean(dim=1, keepdim=True)
        variance = x.var(dim=1, unbiased=False, keepdim=True)
        return (x - mean) * (variance + 1e-5).rsqrt() * self.factor[:, None, None, None]


class Half(nn.Module):
    """In-plane convolution, group norm of 8, SiLU; scaled and shifted in between if asked to."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, out, (1, 3, 3), padding=(0, 1, 1))
        self.norm = nn.GroupNorm(8, out)

    def forward(self, x: Tensor, modulation: Tensor | None = None) -> Tensor:
        h = self.norm(self.conv(x))
        if modulation is not None:
            scale, shift = modulation[:, :, None, None, None].chunk(2, dim=1)
            h = h * (scale + 1) + shift
        return F.silu(h)


class Block(nn.Module):
    """Two halves beside the input; the first is modulated by the time if there is one."""

    def __init__(self, channels: int, out: int, times: int | None) -> None:
        super().__init__()
        self.time = None if times is None else nn.Linear(times, 2 * out)
        self.first, self.second = Half(channels, out), Half(out, out)
        self.shortcut = nn.Identity() if channels == out else nn.Conv3d(channels, out, 1)

    def forward(self, x: Tensor, times: Tensor | None = None) -> Tensor:
        modulation = None
        if self.time is not None and times is not None:
            modulation = self.time(F.silu(times))
        found: Tensor = self.second(self.first(x, modulation)) + self.shortcut(x)
        return found


class LinearAttention(nn.Module):
    """Attention among the places of each slice, without their matrix; added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = HEADS * HEAD
        self.norm = ChannelNorm(channels)
        self.qkv = nn.Conv3d(channels, 3 * inner, 1, bias=False)
        self.out = nn.Conv3d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, _, d, h, w = x.shape
        qkv = self.qkv(self.norm(x)).unflatten(1, (3, HEADS, HEAD)).flatten(-2)
        q, k, v = qkv.movedim(4, 2).unbind(1)  # [B, D, heads, 32, places]
        q, k = q.softmax(dim=-2) * HEAD**-0.5, k.softmax(dim=-1)
        context = k @ v.transpose(-1, -2)
        found = (context.transpose(-1, -2) @ q).flatten(2, 3).transpose(1, 2)
        return x + self.out(found.reshape(b, -1, d, h, w))


class Attention(nn.Module):
    """Attention along an axis, added to the input: [..., n, C] -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = HEADS * HEAD
        self.norm = ChannelNorm(channels)
        self.qkv = nn.Linear(channels, 3 * inner, bias=False)
        self.out = nn.Linear(inner, channels, bias=False)

    def heads(self, x: Tensor) -> list[Tensor]:
        """Queries, keys and values [..., heads, n, 32] of places [..., n, C]."""
        qkv = self.qkv(x).unflatten(-1, (3, HEADS, HEAD)).movedim(-3, 0)
        return [one.transpose(-2, -3) for one in qkv]

    def merged(self, found: Tensor) -> Tensor:
        """[..., heads, n, 32] -> [..., n, C]."""
        joined: Tensor = self.out(found.transpose(-2, -3).flatten(-2))
        return joined


class SpatialAttention(Attention):
    """Among the places of each slice."""

    def forward(self, x: Tensor) -> Tensor:
        b, c, d, h, w = x.shape
        places = self.norm(x).permute(0, 2, 3, 4, 1).reshape(b * d, h * w, c)
        q, k, v = self.heads(places)
        found = self.merged(F.scaled_dot_product_attention(q, k, v))
        return x + found.reshape(b, d, h, w, c).permute(0, 4, 1, 2, 3)


class DepthAttention(Attention):
    """Among the places along the depth, with turned queries and keys, and a bias by distance."""

    def forward(self, x: Tensor, bias: Tensor, rates: Tensor) -> Tensor:
        """
        Args:
            bias: [heads, D, D].
            rates: [16], of the rotary code, in radians per place.
        """
        b, c, d, h, w = x.shape
        places = self.norm(x).permute(0, 3, 4, 2, 1).reshape(b * h * w, d, c)
        q, k, v = self.heads(places)
        q, k = turned(q, rates), turned(k, rates)
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q))
        return x + self.merged(found).reshape(b, h, w, d, c).permute(0, 4, 3, 1, 2)


def turned(x: Tensor, rates: Tensor) -> Tensor:
    """Rotary position code (Su et al., 2021) on all of [..., n, 32]."""
    places = torch.arange(x.shape[-2], device=x.device)
    angle = (places[:, None] * rates).repeat_interleave(2, dim=-1)
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    quarter = torch.stack([-odd, even], dim=-1).flatten(-2)
    return x * angle.cos().to(x) + quarter * angle.sin().to(x)


class DistanceBias(nn.Module):
    """A trained number for each head and bucket of distances (Raffel et al., 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(BUCKETS, HEADS)

    def forward(self, n: int) -> Tensor:
        """[heads, n, n] for n places."""
        places = torch.arange(n, device=self.table.weight.device)
        return self.table(bucket(places[None, :] - places[:, None])).permute(2, 0, 1)


def bucket(distance: Tensor) -> Tensor:
    """Bucket of each distance: half for either sign, exact near 0, then by the logarithm."""
    half = BUCKETS // 2
    exact = half // 2
    n = distance.abs()
    share = torch.log(n.clamp_min(1) / exact) / math.log(FARTHEST / exact)
    far = (exact + share * (half - exact)).long().clamp_max(half - 1)
    return (distance < 0) * half + torch.where(n < exact, n, far)


class LatentUNet(nn.Module):
    """(latents [B, channels, n, n, n], t [B]) -> eps of the same shape.

    Args:
        width: channels of the first level.
        channels: of the latents.
    """

    def __init__(
        self, width: int, channels: int = 8, multiples: tuple[int, ...] = (1, 2, 4, 8)
    ) -> None:
        super().__init__()
        self.width = width
        times = 4 * width
        widths = [width, *(width * m for m in multiples)]
        self.bias = DistanceBias()
        rates = 10000 ** (-torch.arange(0, HEAD, 2) / HEAD)
        self.rates = nn.Parameter(rates, requires_grad=False)  # the original counts them, too
        self.first = nn.Conv3d(channels, width, (1, 7, 7), padding=(0, 3, 3))
        self.first_depth = DepthAttention(width)
        self.times = nn.Sequential(nn.Linear(width, times), nn.GELU(), nn.Linear(times, times))
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        levels = list(pairwise(widths))
        for number, (a, b) in enumerate(levels):
            last = number + 1 == len(levels)
            halve = nn.Identity() if last else nn.Conv3d(b, b, (1, 4, 4), (1, 2, 2), (0, 1, 1))
            self.down.append(Level(a, b, times, halve))
        deepest = widths[-1]
        self.middle = nn.ModuleList(
            [
                *(Block(deepest, deepest, times), SpatialAttention(deepest)),
                *(DepthAttention(deepest), Block(deepest, deepest, times)),
            ]
        )
        for number, (a, b) in enumerate(reversed(levels)):
            last = number + 1 == len(levels)
            double = (
                nn.Identity() if last else nn.ConvTranspose3d(a, a, (1, 4, 4), (1, 2, 2), (0, 1, 1))
            )
            self.up.append(Level(2 * b, a, times, double))
        self.last_block = Block(2 * width, width, None)
        self.last = nn.Conv3d(width, channels, 1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Latents [B, channels, n, n, n] at timesteps t [B]."""
        bias, rates = self.bias(x.shape[2]), self.rates
        times = self.times(sinusoid(t, self.width, closed=True))
        h = start = self.first_depth(self.first(x), bias, rates)
        skips = []
        for level in self.down:
            skip, h = level(h, times, bias, rates)
            skips.append(skip)
        one, plane, depth, two = self.middle
        h = two(depth(plane(one(h, times)), bias, rates), times)
        for level in self.up:
            _, h = level(torch.cat([h, skips.pop()], dim=1), times, bias, rates)
        found: Tensor = self.last(self.last_block(torch.cat([h, start], dim=1)))
        return found


class Level(nn.Module):
    """Two blocks, attention in plane, attention in depth; and the way to the next level."""

    def __init__(self, channels: int, out: int, times: int, resized: nn.Module) -> None:
        super().__init__()
        self.first, self.second = Block(channels, out, times), Block(out, out, times)
        self.plane, self.depth = LinearAttention(out), DepthAttention(out)
        self.resized = resized

    def forward(
        self, x: Tensor, times: Tensor, bias: Tensor, rates: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What a later level may want again, and what goes on to the next."""
        h = self.second(self.first(x, times), times)
        h = self.depth(self.plane(h), bias, rates)
        return h, self.resized(h)
