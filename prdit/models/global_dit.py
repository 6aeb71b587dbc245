"""The Global Residual DiT (section 3.2): attention over all patches refines the local estimate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prdit.models.embeddings import position_code
from prdit.models.local_denoiser import modulate, normalise


class PatchEmbedding(nn.Module):
    """LN(MLP(v) + skip(v)); the paper's "simple linear mapping" in the released code's form."""

    def __init__(self, patch_width: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(patch_width, 4 * width)
        self.out = nn.Linear(4 * width, width)
        self.skip = nn.Linear(patch_width, width, bias=False)
        self.norm = nn.LayerNorm(width, eps=1e-5)

    def forward(self, v: Tensor) -> Tensor:
        h: Tensor = self.out(F.gelu(self.hidden(v), approximate="tanh"))
        return self.norm(h + self.skip(v))


class Attention(nn.Module):
    """Multi-head self-attention over all tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*qkv.unbind(0))
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))


class Block(nn.Module):
    """DiT block with adaLN-Zero (Peebles & Xie, 2022)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(width, 6 * width)
        self.attention = Attention(width, heads)
        self.hidden = nn.Linear(width, 4 * width)
        self.out = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, m: Tensor) -> Tensor:
        """x [B, N, h], m [B or 1, 6h] -> [B, N, h]."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = m.chunk(6, dim=1)
        attended = self.attention(modulate(normalise(x), shift_a, scale_a))
        x = x + gate_a.unsqueeze(1) * attended
        hidden = F.gelu(self.hidden(modulate(normalise(x), shift_m, scale_m)), approximate="tanh")
        return x + gate_m.unsqueeze(1) * self.out(hidden)


class GlobalDiT(nn.Module):
    """Residuals of signal and noise from the noisy patches of the whole volume (Eq. 4).

    Args:
        patch_width: d, the length of a patch token.
        out: 2 C stride^3, the length of an output token.
        grid: number of patches along D, H, W.
    """

    def __init__(
        self,
        patch_width: int,
        out: int,
        grid: tuple[int, int, int],
        *,
        width: int,
        heads: int,
        depth: int,
    ) -> None:
        super().__init__()
        self.embedding = PatchEmbedding(patch_width, width)
        self.blocks: Sequence[Block] = nn.ModuleList(Block(width, heads) for _ in range(depth))  # type: ignore[assignment]
        self.modulation = nn.Linear(width, 2 * width)
        self.head = nn.Linear(width, out)
        self.register_buffer("position", position_code(grid, width), persistent=False)
        self.position: Tensor

    def forward(self, v: Tensor, m: Tensor) -> Tensor:
        """v [B, N, d], m [B or 1, (6L + 2)h] -> [B, N, out]."""
        x = self.embedding(v) + self.position
        width = x.shape[-1]
        *blocks, head = m.split([6 * width] * len(self.blocks) + [2 * width], dim=1)
        for block, its in zip(self.blocks, blocks, strict=True):
            x = block(x, its)
        shift, scale = head.chunk(2, dim=1)
        return self.head(modulate(normalise(x), shift, scale))

    def modulations(self, c: Tensor) -> Tensor:
        """c [B, h] -> m [B, (6L + 2)h]: what the time does to this branch."""
        layers = [*(block.modulation for block in self.blocks), self.modulation]
        return torch.cat([layer(F.silu(c)) for layer in layers], dim=1)

    def zero_initialised(self) -> list[nn.Linear]:
        """The layers that start at zero (Table 10), so that a fresh DiT changes nothing."""
        return [*(block.modulation for block in self.blocks), self.modulation, self.head]
