"""Training volumes on their way to the device: int16 at rest, float32 in [-1, 1] in a batch."""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from prdit.data.store import FULL, Store
from prdit.machine.memory import free_bytes

CHUNK = 2**28
"""Bytes that are copied to a GPU at once."""
SHARE = 0.4
"""Of the GPU's free memory that volumes may take; else they stay on disk, mapped into memory."""


class Volumes(Protocol):
    """What a training asks for volumes: a number of them on a device."""

    device: torch.device

    def __len__(self) -> int: ...

    def __call__(self, chosen: Tensor, upcoming: Tensor | None = None) -> Tensor: ...


class Feed:
    """Batches of one part of a store.

    Volumes move to a GPU whole if they fit. Else batches are read from the mapped file by a thread,
    one ahead of the training, into pinned memory.

    Args:
        part: "train" or "held-out".
        resident: whether all volumes lie on the device; None: on a GPU, if they fit.
    """

    def __init__(
        self, store: Store, part: str, device: torch.device, *, resident: bool | None = None
    ) -> None:
        self.device = device
        self.quantised = store.quantised
        self.rows = np.flatnonzero([part == p for p in store.parts])
        if resident is None:
            resident = device.type == "cuda" and self._fits()
        self.resident = self._on_device() if resident else None
        self.reader = ThreadPoolExecutor(1)
        self.ahead: dict[tuple[int, ...], Future[Tensor]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __call__(self, chosen: Tensor, upcoming: Tensor | None = None) -> Tensor:
        """Volumes number `chosen` [B] of the part: float32 [B, 1, S, S, S] on the device.

        Args:
            upcoming: those of the next call, which are read meanwhile.
        """
        if self.resident is not None:
            found = self.resident[chosen.to(self.device, non_blocking=True)]
        else:
            waiting = self.ahead.pop(tuple(chosen.tolist()), None)
            batch = waiting.result() if waiting else self._batch(chosen)
            found = batch.to(self.device, non_blocking=True)
            if upcoming is not None and self.device.type == "cuda":
                self.ahead = {tuple(upcoming.tolist()): self.reader.submit(self._batch, upcoming)}
        return found.float().unsqueeze(1).div_(FULL)

    def _on_device(self) -> Tensor:
        """All volumes of the part, in chunks: the host never holds them all."""
        shape = self.quantised.shape[1:]
        many = max(1, CHUNK // (self.quantised.itemsize * math.prod(shape)))
        whole = torch.empty((len(self), *shape), dtype=torch.int16, device=self.device)
        pinned = self.device.type == "cuda"
        buffer = torch.empty((min(many, len(self)), *shape), dtype=torch.int16, pin_memory=pinned)
        for first in range(0, len(self), many):
            rows = self.rows[first : first + many]
            chunk = buffer[: len(rows)]
            # "clip", since "raise" would copy the chunk once more; rows are in bounds.
            np.take(self.quantised, rows, axis=0, out=chunk.numpy(), mode="clip")
            whole[first : first + len(rows)].copy_(chunk)
        return whole

    def _batch(self, chosen: Tensor) -> Tensor:
        read = self._read(self.rows[chosen.numpy()])
        return read.pin_memory() if self.device.type == "cuda" else read

    def _read(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.quantised[rows]))

    def _fits(self) -> bool:
        volume = self.quantised.itemsize * int(np.prod(self.quantised.shape[1:]))
        return len(self.rows) * volume < SHARE * free_bytes(self.device)
