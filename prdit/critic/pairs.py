"""What a critic sees: a real and a generated volume at a time, the latter of one of two models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from prdit.data.samples import read_samples
from prdit.data.store import Store, packed
from prdit.data.volume import to_window
from prdit.errors import UserError
from prdit.files import read_json
from prdit.training.feed import Feed


class Pairs:
    """Every real volume of a part with every generated one of the same part, once an epoch.

    Args:
        real: store of the real volumes.
        generated: of the two models, as `drawn` makes them.
        part: "train" or "held-out".
    """

    def __init__(
        self, real: Store, generated: list[Store], part: str, device: torch.device
    ) -> None:
        self.device = device
        self.real = Feed(real, part, device)
        self.generated = [Feed(one, part, device) for one in generated]
        self.count = sum(map(len, self.generated))

    def __len__(self) -> int:
        return len(self.real) * self.count

    def __call__(self, chosen: Tensor, upcoming: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Pairs number `chosen` [B]: float32 [B, 2, S, S, S] on the device."""
        real = self.real(chosen // self.count)
        return torch.cat([real, self._generated(chosen % self.count)], dim=1)

    def _generated(self, chosen: Tensor) -> Tensor:
        """Volumes number `chosen` [B] of both models together: [B, 1, S, S, S]."""
        first, second = self.generated
        found = [first(n[None]) if n < len(first) else second(n[None] - len(first)) for n in chosen]
        return torch.cat(found)


def in_whole_hu(real: Store) -> Store:
    """The real volumes, rounded as samples are: a critic could learn the finer steps of a store."""
    volumes = [packed(real.in_whole_hu(i)) for i in range(len(real.quantised))]
    return replace(real, quantised=np.stack(volumes))


def drawn(cards: list[Path], real: Store, held_out: float) -> Store:
    """Samples as a store like that of the real volumes; the last of them are held out.

    Args:
        held_out: share of them.

    Raises:
        UserError: other sizes or another window than the real volumes', or too few.
    """
    low, high = real.window
    for card in cards:
        told = read_json(card, "window")
        if told["window"] != [low, high]:
            raise UserError(
                f"{card} has the HU window {told['window']}, the real volumes {[low, high]}; make"
                " both again with one config"
            )
        if told.get("cohort") not in (None, real.cohort):
            raise UserError(f"{card} is of a model trained on another cohort; train it anew")
    volumes = [
        packed(to_window(volume.hu, low, high)) for card in cards for volume in read_samples(card)
    ]
    kept = len(volumes) - max(1, round(held_out * len(volumes)))
    if kept < 1 or volumes[0].shape != real.quantised.shape[1:]:
        raise UserError(
            f"{len(volumes)} samples of shape {volumes[0].shape} beside {cards[0]} cannot be told"
            f" from real volumes of shape {real.quantised.shape[1:]}; draw more, or of that size"
        )
    return Store(
        quantised=np.stack(volumes),
        series=[],
        parts=["train"] * kept + ["held-out"] * (len(volumes) - kept),
        window=(low, high),
        nominal=real.nominal,
        spacing_mm=real.spacing_mm,
        sha256="",
        cohort=real.cohort,
    )
