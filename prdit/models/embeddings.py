"""Where a token is and when: the 3D position code and the time embedding."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FREQUENCIES = 256
"""Length of the timestep's sinusoid (released code)."""


def sinusoid(t: Tensor, length: int, *, closed: bool = False) -> Tensor:
    """Cosines, then sines, of t at frequencies from 1 to almost 1/10000 (released code).

    Args:
        t: [B] timesteps in 0..T, not scaled.
        length: number of values; an odd one ends in a zero.
        closed: the last frequency is 1/10000.
    """
    half = length // 2
    steps = torch.arange(half, dtype=torch.float32, device=t.device)
    angles = t.float()[:, None] * torch.exp(-math.log(10000) / (half - closed) * steps)
    code = torch.cat([angles.cos(), angles.sin()], dim=1)
    return nn.functional.pad(code, (0, length % 2))


def position_code(grid: tuple[int, int, int], width: int) -> Tensor:
    """3D sinusoidal position code (Table 10; details from the released code).

    Each axis gets width/6 frequencies, log-spaced from 1 to 0.95 grid/2 cycles per volume, as
    [sin x, cos x, sin y, cos y, sin z, cos z] with x along W and z along D.

    Returns:
        float32 [1, N, width]
    """
    codes = []
    for axis, n in enumerate(grid):  # z, y, x
        centres = (torch.arange(n, dtype=torch.float32) + 0.5) / n
        exponents = torch.linspace(0, 1, width // 6)
        angles = centres[:, None] * (2 * math.pi * (0.95 * n / 2) ** exponents)
        code = torch.cat([angles.sin(), angles.cos()], dim=1)
        shape = [1, 1, 1, code.shape[1]]
        shape[axis] = n
        codes.append(code.reshape(shape).expand(*grid, -1))
    return torch.cat(codes[::-1], dim=-1).reshape(1, math.prod(grid), width)


class TimeEmbedding(nn.Module):
    """c = TimeEmbed(t), and its projection for each branch (section 3.1)."""

    def __init__(self, width: int, local_width: int | None, *, with_global: bool) -> None:
        super().__init__()
        self.trunk = nn.Linear(FREQUENCIES, width)
        self.to_local = None if local_width is None else nn.Linear(width, local_width)
        self.to_global = nn.Linear(width, width) if with_global else None

    def forward(self, t: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """t [B] -> (c_local [B, d], c_global [B, h]); None for a branch that is not there."""
        code = sinusoid(t, FREQUENCIES).to(self.trunk.weight.dtype)
        c = nn.functional.silu(self.trunk(code))
        local = None if self.to_local is None else self.to_local(c)
        return local, None if self.to_global is None else self.to_global(c)
