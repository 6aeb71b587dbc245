"""PRDiT: Local Denoiser plus Global Residual DiT (Figure 1)."""

from __future__ import annotations

from torch import Tensor, nn

from prdit.models.embeddings import TimeEmbedding
from prdit.models.global_dit import GlobalDiT
from prdit.models.initialisation import initialise
from prdit.models.local_denoiser import LocalDenoiser
from prdit.models.patches import assemble, extract

Estimate = tuple[Tensor, Tensor]
"""(eps, x0), each [B, 1, S, S, S]."""


class PRDiT(nn.Module):
    """Estimates noise and signal of a noisy volume.

    Args:
        size: edge of the cubic volumes in voxels; a multiple of `stride`.
        patch, stride: edges p and s of the patches that are read and written.
        width, heads, depth: of the transformer; depth 0 is stage 1, the Local Denoiser alone.
        local: False leaves out the Local Denoiser (Table 4, "w/o local denoiser").
    """

    def __init__(
        self,
        size: int,
        *,
        patch: int,
        stride: int,
        width: int,
        heads: int,
        depth: int,
        local: bool = True,
    ) -> None:
        super().__init__()
        self.patch, self.stride = patch, stride
        self.grid = (size // stride,) * 3
        v, out = patch**3, 2 * stride**3
        self.time = TimeEmbedding(width, v if local else None, with_global=depth > 0)
        self.local = LocalDenoiser(v, out) if local else None
        self.residual = (
            GlobalDiT(v, out, self.grid, width=width, heads=heads, depth=depth) if depth else None
        )

    def forward(self, x_t: Tensor, t: Tensor | list[Tensor]) -> Estimate:
        """x_t [B, 1, S, S, S] and t [B], or what `modulations` made of it -> (eps, x0)."""
        parts = self.parts(x_t, self.modulations(t) if isinstance(t, Tensor) else t)
        return self.volumes(parts[0] if len(parts) == 1 else parts[0] + parts[1])

    def modulations(self, t: Tensor) -> list[Tensor]:
        """All that depends on t [B] alone: a tensor [B, ...] per branch, local first.

        One row [1, ...] serves a whole batch at one time.
        """
        c_local, c_global = self.time(t)
        branches = ((self.local, c_local), (self.residual, c_global))
        return [branch.modulations(c) for branch, c in branches if branch is not None]

    def parts(self, x_t: Tensor, modulations: list[Tensor]) -> list[Tensor]:
        """The tokens of each branch, local first, [B, N, 2 s^3]; their sum is the estimate."""
        v = extract(x_t, self.patch, self.stride)
        found, left = [], list(modulations)
        if self.local is not None:
            found.append(self.local(v, left.pop(0)))
        if self.residual is not None:
            found.append(self.residual(v, left.pop(0)))
        return found

    def volumes(self, tokens: Tensor) -> Estimate:
        """Tokens [B, N, 2 s^3] put together: noise and signal (Figure 15 shows each branch's)."""
        eps, x0 = assemble(tokens, self.grid, self.stride).chunk(2, dim=1)
        return eps, x0

    def local_parameters(self) -> dict[str, nn.Parameter]:
        """What stage 1 trains and stage 2 keeps frozen, by name."""
        mine = ("local.", "time.trunk.", "time.to_local.")
        return {name: p for name, p in self.named_parameters() if name.startswith(mine)}

    def initialise(self, seed: int, gain: float = 1.0) -> None:
        """Initial weights: a fresh DiT changes nothing, a fresh Local Denoiser says 0."""
        branches = [branch for branch in (self.local, self.residual) if branch is not None]
        zero = [layer for branch in branches for layer in branch.zero_initialised()]
        initialise(self, zero, seed, gain)
