"""The Local Denoiser (section 3.1, Figure 2, A.5): an MLP on each patch alone."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """(1 + scale) x + shift, with shift and scale [B, width] and x [B, N, width].

    The paper prints gamma LN(x) + beta; with its zero initialisation that is a stationary point.
    """
    return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


def normalise(x: Tensor) -> Tensor:
    """LayerNorm over the last axis without learned gain or bias, eps 1e-6."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


class SwiGLU(nn.Module):
    """out(LN(SiLU(gate z) * value z)); the norm inside is the released code's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.out = nn.Linear(width, width)

    def forward(self, z: Tensor) -> Tensor:
        return self.out(self.norm(F.silu(self.gate(z)) * self.value(z)))


class LocalDenoiser(nn.Module):
    """Estimates the noise and the signal of a block from the noisy patch around it (Eq. 2).

    Args:
        width: d = C patch^3, the length of a patch token.
        out: 2 C stride^3, the length of an output token.
    """

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(width, 6 * width)
        self.first = SwiGLU(width)
        self.second = SwiGLU(width)
        self.head = nn.Linear(width, out)

    def forward(self, v: Tensor, m: Tensor) -> Tensor:
        """v [B, N, d], m [B or 1, 6d] -> [B, N, out]."""
        shift1, scale1, shift2, scale2, shift3, scale3 = m.chunk(6, dim=1)
        z1 = self.first(modulate(normalise(v), shift1, scale1))
        z2 = self.second(modulate(normalise(z1), shift2, scale2))
        return self.head(modulate(z2 + v, shift3, scale3))

    def modulations(self, c: Tensor) -> Tensor:
        """c [B, d] -> m [B, 6d]: what the time does to this branch."""
        return self.modulation(F.silu(c))

    def zero_initialised(self) -> list[nn.Linear]:
        """The layers that start at zero (Table 9)."""
        return [self.modulation, self.head]
