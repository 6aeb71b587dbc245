"""What the training loop, the sampler and the tables need of a generator: the protocol.

A generator is a module of this folder with a function `build(entry, size, base)`; the
config names it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.optim import Optimizer

if TYPE_CHECKING:
    from prdit.config import Model, PRDiT, Sampler, Training


class Generator(ABC):
    """A trainable source of volumes [B, 1, S, S, S] in [-1, 1]."""

    network: nn.Module
    """All that is trained and all that sampling needs; its state is the weights file."""

    @abstractmethod
    def start_from(self, trained: Generator) -> None:
        """Take over what an earlier training left; raises UserError if it does not fit."""

    @abstractmethod
    def optimizers(self, training: Training) -> list[Optimizer]:
        """Fresh optimizers over what this training changes; `step` uses them."""

    @abstractmethod
    def step(self, x0: Tensor, index: Tensor, training: Training) -> dict[str, Tensor]:
        """One update on real volumes x0 [B, 1, S, S, S].

        Args:
            index: [B] numbers of volumes seen before each, the address of its random numbers.

        Returns:
            Losses by name, detached, on x0's device.
        """

    @abstractmethod
    def sample(self, index: Tensor, seed: int, sampler: Sampler) -> Tensor:
        """Volumes number `index` [B] of a seed: [B, 1, S, S, S], nominally in [-1, 1]."""


def build(entry: Model, size: int, base: PRDiT | None = None) -> Generator:
    """The generator that a config entry names, with initial weights, for volumes of edge `size`.

    Args:
        base: entry of the model at the beginning of its chain of `start_from`.
    """
    module = import_module(f"prdit.generators.{entry.generator}")
    generator: Generator = module.build(entry, size, base)
    return generator
