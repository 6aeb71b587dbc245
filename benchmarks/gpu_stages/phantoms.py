"""Chests that never were, on machines with few wheels; and a picture without any."""

from __future__ import annotations

import struct
import zlib
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

EXTENT_MM, WINDOW = 256.0, (-1000.0, 400.0)


def chests(count: int, size: int, seed: int, workers: int) -> tuple[Tensor, str]:
    """Volumes [count, 1, S, S, S] in [-1, 1], and how they were made.

    The package's phantoms, which need SciPy; without it, ellipsoids.
    """
    if find_spec("scipy") is None:
        made = [ellipsoids(size, seed, n) for n in range(count)]
        return stacked(made), "ellipsoids (there is no SciPy)"
    one = partial(thorax_in_window, size, seed)
    if workers > 1:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            return stacked(list(pool.map(one, range(count), chunksize=4))), "phantoms"
    return stacked([one(n) for n in range(count)]), "phantoms"


def stacked(made: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(made).astype(np.float32)).unsqueeze(1)


def thorax_in_window(size: int, seed: int, index: int) -> np.ndarray:
    from prdit.data.phantom.thorax import thorax
    from prdit.data.volume import to_window

    volume = thorax(seed, index, (EXTENT_MM / size,) * 3, (size,) * 3)
    return to_window(volume.hu, *WINDOW)


def ellipsoids(size: int, seed: int, index: int) -> np.ndarray:
    """A body, two lungs and a heart of their own sizes, [S, S, S] in [-1, 1]."""
    rng = np.random.default_rng([seed, index])
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, size)] * 3, indexing="ij")

    def inside(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        scaled = [
            (a - c) / (r * rng.uniform(0.85, 1.15))
            for a, c, r in zip((z, y, x), centre, radii, strict=True)
        ]
        return sum(s**2 for s in scaled) < 1

    found = np.full((size,) * 3, -1.0)
    found[inside((0, 0, 0), (1.5, 0.6, 0.85))] = 0.45
    for side in (-0.4, 0.4):
        found[inside((0, 0, side), (0.8, 0.42, 0.3))] = rng.uniform(-0.8, -0.6)
    found[inside((0.1, -0.1, 0.1), (0.3, 0.25, 0.25))] = 0.5
    return found


def picture(rows: list[Tensor], factor: int) -> np.ndarray:
    """Middle axial slices, a row per set of volumes [N, 1, S, S, S]; uint8 [H, W]."""
    lines = []
    for volumes in rows:
        slices = volumes[:, 0, volumes.shape[2] // 2].float().cpu().clamp(-1, 1)
        lines.append(torch.cat(list(slices), dim=1))
    grey = ((torch.cat(lines) + 1) * 127.5).round().to(torch.uint8).numpy()
    return grey.repeat(factor, 0).repeat(factor, 1)


def write_png(path: Path, grey: np.ndarray) -> None:
    """A PNG of uint8 [H, W], by the standard library alone."""
    height, width = grey.shape
    rows = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(grey))

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)  # 8 bits of grey
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
