"""One level of the orthonormal 3D Haar transform: a volume as eight bands of half its edge."""

from __future__ import annotations

import torch
from torch import Tensor


def haar(x: Tensor) -> Tensor:
    """[B, 1, S, S, S] -> [B, 8, S/2, S/2, S/2]: LLL, LLH, ..., HHH, letters for z, y, x.

    Along each axis, L = (a + b) / sqrt(2) and H = (a - b) / sqrt(2) of neighbours a, b.
    """
    bands = x
    for axis in (2, 3, 4):
        a, b = bands.unflatten(axis, (-1, 2)).unbind(axis + 1)
        bands = torch.stack([a + b, a - b], dim=2).flatten(1, 2) / 2**0.5
    return bands


def inverse_haar(bands: Tensor) -> Tensor:
    """[B, 8, n, n, n] -> [B, 1, 2n, 2n, 2n]: undoes `haar`."""
    x = bands
    for axis in (4, 3, 2):
        low, high = x.unflatten(1, (-1, 2)).unbind(2)
        pair = torch.stack([low + high, low - high], dim=axis + 1)
        x = pair.flatten(axis, axis + 1) / 2**0.5
    return x
