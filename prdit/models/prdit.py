"""PRDiT: Local Denoiser plus Global Residual DiT (Figure 1)."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from prdit.diffusion.noise import generator
from prdit.models.embeddings import TimeEmbedding
from prdit.models.global_dit import GlobalDiT
from prdit.models.local_denoiser import LocalDenoiser
from prdit.models.patches import assemble, extract


class PRDiT(nn.Module):
    """Estimates noise and signal of a noisy volume.

    Args:
        size: edge of the cubic volumes in voxels; a multiple of `stride`.
        patch, stride: edges p and s of the patches that are read and written.
        width, heads, depth: of the transformer; depth 0 is stage 1, the Local Denoiser alone.
    """

    def __init__(
        self, size: int, *, patch: int, stride: int, width: int, heads: int, depth: int
    ) -> None:
        super().__init__()
        self.patch, self.stride = patch, stride
        self.grid = (size // stride,) * 3
        tokens_in, tokens_out = patch**3, 2 * stride**3
        self.time = TimeEmbedding(width, tokens_in, with_global=depth > 0)
        self.local = LocalDenoiser(tokens_in, tokens_out)
        self.residual = (
            GlobalDiT(tokens_in, tokens_out, self.grid, width=width, heads=heads, depth=depth)
            if depth > 0
            else None
        )

    def forward(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """x_t [B, 1, S, S, S], t [B] -> (eps, x0), each like x_t."""
        v = extract(x_t, self.patch, self.stride)
        c_local, c_global = self.time(t)
        with nullcontext() if self.residual is None else torch.no_grad():
            tokens = self.local(v, c_local)
        if self.residual is not None:
            tokens = tokens + self.residual(v, c_global)
        eps, x0 = assemble(tokens, self.grid, self.stride).chunk(2, dim=1)
        return eps, x0

    def local_parameters(self) -> dict[str, nn.Parameter]:
        """What stage 1 trains and stage 2 keeps frozen, by name."""
        mine = ("local.", "time.trunk.", "time.to_local.")
        return {name: p for name, p in self.named_parameters() if name.startswith(mine)}

    @torch.no_grad()
    def initialise(self, seed: int, gain: float = 1.0) -> None:
        """Initial weights (Tables 9 and 10; gains from the released code).

        Each tensor is a function of (seed, its name), whatever else the model has.
        """
        zero = {
            id(layer)
            for part in (self.local, self.residual)
            if part
            for layer in part.zero_initialised()
        }
        for name, module in self.named_modules():
            if isinstance(module, nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(module, nn.Linear):
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
                random = generator(seed, f"initial weights {name}")
                if id(module) in zero:
                    nn.init.zeros_(module.weight)
                elif name.startswith("time."):
                    nn.init.normal_(module.weight, std=0.02, generator=random)
                else:
                    skip = name == "residual.embedding.skip"
                    nn.init.xavier_uniform_(module.weight, 0.1 if skip else gain, generator=random)
