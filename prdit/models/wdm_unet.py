"""The 3D U-Net of WDM-3D (Friedrich et al., 2024): additive skips, no attention.

Written from a description of the network, not from its code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from prdit.models.embeddings import sinusoid

GROUPS = 32
SKIP = 0.5**0.5
"""h and its skip are added and divided by sqrt(2)."""


class ResidualBlock(nn.Module):
    """norm, SiLU, convolution; plus the time; norm, SiLU, convolution that starts at zero.

    Args:
        resample: "down" (average pooling by 2) or "up" (nearest by 2), after the first activation
            and on the shortcut; "" for neither.
    """

    def __init__(self, channels: int, out: int, times: int, resample: str = "") -> None:
        super().__init__()
        self.resample = resample
        self.norm_1, self.conv_1 = norm(channels), nn.Conv3d(channels, out, 3, padding=1)
        self.time = nn.Linear(times, out)
        self.norm_2, self.conv_2 = norm(out), nn.Conv3d(out, out, 3, padding=1)
        self.shortcut = nn.Identity() if channels == out else nn.Conv3d(channels, out, 1)
        zero(self.conv_2)

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        """[B, C, n, n, n] and embedded times [B, E] -> [B, out, n', n', n']."""
        h = self.conv_1(self.resized(F.silu(self.norm_1(x))))
        h = h + self.time(F.silu(times))[:, :, None, None, None]
        h = self.conv_2(F.silu(self.norm_2(h)))
        found: Tensor = self.shortcut(self.resized(x)) + h
        return found

    def resized(self, x: Tensor) -> Tensor:
        """x at the block's own resolution."""
        if self.resample == "down":
            return F.avg_pool3d(x, 2)
        return F.interpolate(x, scale_factor=2.0, mode="nearest") if self.resample == "up" else x


def norm(channels: int) -> nn.GroupNorm:
    """Group norm of 32 groups, or fewer where there are fewer channels."""
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels)


def zero(layer: nn.Module) -> None:
    """Set all of a layer's parameters to 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class WaveletUNet(nn.Module):
    """(bands [B, 8, n, n, n], t [B]) -> bands of the same shape; zero before any training.

    Args:
        base: channels of the first level.
        multiples: channels of each level, in `base`.
        blocks: residual blocks per level on the way down; one more on the way up.
    """

    def __init__(
        self, base: int, multiples: Sequence[int], blocks: int = 2, bands: int = 8
    ) -> None:
        super().__init__()
        self.base = base
        times = 4 * base
        self.times = nn.Sequential(nn.Linear(base, times), nn.SiLU(), nn.Linear(times, times))
        self.first = nn.Conv3d(bands, base, 3, padding=1)
        widths, channels = [base], base
        self.down = nn.ModuleList()
        for level, multiple in enumerate(multiples):
            for _ in range(blocks):
                self.down.append(ResidualBlock(channels, multiple * base, times))
                channels = multiple * base
                widths.append(channels)
            if level + 1 < len(multiples):
                self.down.append(ResidualBlock(channels, channels, times, "down"))
                widths.append(channels)
        self.middle = nn.ModuleList(ResidualBlock(channels, channels, times) for _ in range(2))
        self.up = nn.ModuleList()
        for level in reversed(range(len(multiples))):
            for i in range(blocks + 1):
                skip = widths.pop()
                following = widths[-1] if widths else base
                assert skip == channels
                self.up.append(ResidualBlock(channels, following, times))
                channels = following
                if level and i == blocks:
                    self.up.append(ResidualBlock(channels, channels, times, "up"))
        self.last_norm, self.last = norm(channels), nn.Conv3d(channels, bands, 3, padding=1)
        zero(self.last)

    def forward(self, bands: Tensor, t: Tensor) -> Tensor:
        """Bands [B, 8, n, n, n] at timesteps t [B] -> their estimate."""
        times = self.times(sinusoid(t, self.base))
        h = self.first(bands)
        skips = [h]
        for block in self.down:
            h = block(h, times)
            skips.append(h)
        for block in self.middle:
            h = block(h, times)
        for block in self.up:
            if block.resample != "up":
                h = (h + skips.pop()) * SKIP
            h = block(h, times)
        found: Tensor = self.last(F.silu(self.last_norm(h)))
        return found
