"""Volumes to overlapping patches, and tokens back to volumes (section 3.1)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def extract(x_BCDHW: Tensor, patch: int, stride: int) -> Tensor:
    """Overlapping patches v_i of edge `patch` every `stride` voxels (section 3.1).

    The volume is reflected by (patch - stride) / 2 at each side, so that patch i is centred on
    block i of edge `stride`.

    Returns:
        [B, N, C patch^3]; N runs over D slowest and W fastest, so do the voxels of a token, and
        the channel is its slowest index (released code).
    """
    channels = x_BCDHW.shape[1]
    margin = (patch - stride) // 2
    if margin:
        x_BCDHW = F.pad(x_BCDHW, (margin,) * 6, mode="reflect")
    for axis in (2, 3, 4):
        x_BCDHW = x_BCDHW.unfold(axis, patch, stride)
    v = x_BCDHW.permute(0, 2, 3, 4, 1, 5, 6, 7)  # B, grid, C, patch
    return v.reshape(v.shape[0], -1, channels * patch**3)


def assemble(tokens: Tensor, grid: tuple[int, int, int], stride: int) -> Tensor:
    """Non-overlapping blocks back into a volume; inverse of `extract` at patch == stride, C = 1.

    Args:
        tokens: [B, N, stride^3 C] with the channel as the *fastest* index (released code).
        grid: number of blocks along D, H, W.

    Returns:
        [B, C, D, H, W]
    """
    batch, _, length = tokens.shape
    channels = length // stride**3
    blocks = tokens.reshape(batch, *grid, stride, stride, stride, channels)
    x = blocks.permute(0, 7, 1, 4, 2, 5, 3, 6)  # B, C, (D s), (H s), (W s)
    return x.reshape(batch, channels, *(n * stride for n in grid))
