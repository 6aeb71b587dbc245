"""What the training loop, the sampler and the tables need of a generator: the protocol.

A generator is a module of this folder with a function `build(entry, size, base)`; the
config names it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import ValidationError
from torch import Tensor, nn
from torch.optim import Optimizer

from prdit.errors import UserError

if TYPE_CHECKING:
    from prdit.config import Model, Sampler


Losses = Callable[[Tensor, Tensor], dict[str, Tensor]]
"""(real volumes x0 [B, 1, S, S, S], their numbers [B]) -> "loss", which is minimised, and parts.

All are means over volumes, of any shape; "loss" is one number. A volume's number is how many were
seen before it: the address of its random numbers.
"""


Draw = Callable[[Tensor, int], Tensor]
"""(numbers of volumes [B], seed) -> volumes float32 [B, 1, S, S, S], nominally in [-1, 1]."""


class Update(Protocol):
    """Minimises losses over the present batch by one step of an optimizer.

    It knows of micro-batches, processes, precision, clipping and steps that are not finite, so that
    a generator need not. Returns the losses, detached, and "gradient", its norm.
    """

    def __call__(self, optimizer: Optimizer, losses: Losses) -> dict[str, Tensor]: ...


class Trainable(ABC):
    """What the training loop trains."""

    network: nn.Module
    """All that is trained."""

    @abstractmethod
    def optimizers(self) -> list[Optimizer]:
        """Fresh optimizers over what a training changes; `step` uses them."""

    @abstractmethod
    def step(self, update: Update) -> dict[str, Tensor]:
        """One training step: an update of each optimizer on losses of its own.

        Returns:
            What to report, by name, detached; "loss" must be among it.
        """

    def validation(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """Losses on held-out volumes x0 [B, 1, S, S, S], number `index` [B] among them.

        Noise and timesteps depend on `index` alone, so that curves compare between runs. A
        generator whose losses say nothing about unseen volumes has none.
        """
        return {}

    def compile(self) -> None:  # noqa: B027
        """Compile what a GPU does over and over; it may do nothing."""


class Generator(Trainable):
    """A trainable source of volumes [B, 1, S, S, S] in [-1, 1].

    All that sampling needs is its network, whose state is the weights file.
    """

    @abstractmethod
    def start_from(self, trained: Generator) -> None:
        """Take over what an earlier training left; raises UserError if it does not fit."""

    def from_authors(self, state: dict[str, Any], file: Path) -> dict[str, Tensor]:  # noqa: ARG002
        """Weights as the authors of a model published them, by the names of this network.

        Raises:
            UserError: they do not fit, or nobody knows how to read them.
        """
        raise UserError(
            f"{file} is no weights file of this package, and this generator knows no other kind;"
            " for PRDiT's released checkpoints use `python -m prdit convert`"
        )

    @abstractmethod
    def drawing(self, sampler: Sampler) -> Draw:
        """What draws samples, prepared once for as many batches as there will be."""


def build(entry: Model, size: int, base: Model | None = None) -> Generator:
    """The generator that a config entry names, with initial weights, for volumes of edge `size`.

    Args:
        base: entry of the model of another kind that it builds on, if it does.
    """
    module = import_module(f"prdit.generators.{entry.generator}")
    try:
        generator: Generator = module.build(entry, size, base)
        if not isinstance(getattr(generator, "network", None), nn.Module):
            raise UserError(
                f"`build` of prdit/generators/{entry.generator}.py gives no Generator with a"
                " `network`; return one"
            )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, ["settings", *first["loc"]]))
        raise UserError(f"{where} of {entry.generator}: {first['msg']}") from None
    return generator
