"""High-resolution PRDiT as a generator: a refinement on a trained one of half the edge (A.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from prdit.config import PRDiT
from prdit.diffusion.process import losses
from prdit.errors import UserError
from prdit.generators.base import Generator
from prdit.generators.prdit import AnyPRDiT, PRDiTGenerator
from prdit.generators.weights import fit
from prdit.models.refinement import FACTOR, RefinedPRDiT, consistency

if TYPE_CHECKING:
    from prdit import config


class RefinedGenerator(AnyPRDiT):
    """The refinement alone is trained, or with `train_base` all of it (Table 8)."""

    network: RefinedPRDiT

    def __init__(self, entry: config.PRDiTRefined, size: int, base: config.PRDiT) -> None:
        network = RefinedPRDiT(
            PRDiTGenerator(base, size // FACTOR).network,
            size,
            patch=entry.patch,
            stride=entry.stride,
            width=entry.width,
            sees_estimate=entry.refiner_input == "noisy_and_estimates",
        )
        super().__init__(network, size, base, entry.training)
        self.entry = entry
        network.initialise(entry.training.seed)
        network.base.requires_grad_(entry.train_base)

    def start_from(self, trained: Generator) -> None:
        """From a base, or from a refined model to train on."""
        refined = isinstance(trained.network, RefinedPRDiT)
        mine = self.network if refined else self.network.base
        fit(mine, trained.network.state_dict(), "the weights to start from")

    def terms(self, x_t: Tensor, t: Tensor, eps: Tensor, x0: Tensor) -> dict[str, Tensor]:
        high, low = self.network.refined(x_t, self.network.modulations(t))
        found = losses(high, eps, x0)
        kept = consistency(high, low)
        found["loss"] = found["loss"] + self.entry.consistency * kept
        return {**found, "consistency": kept.detach()}


def build(entry: config.PRDiTRefined, size: int, base: config.Model | None) -> RefinedGenerator:
    """A refined PRDiT with initial weights, for volumes of edge `size`."""
    if not isinstance(base, PRDiT):
        raise UserError("a refined model needs a base; name a PRDiT in start_from")
    return RefinedGenerator(entry, size, base)
