"""PRDiT, its stage 1 and its ablations as a generator (sections 3.1 and 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prdit.diffusion.samplers import walk
from prdit.errors import UserError
from prdit.generators.base import Generator
from prdit.generators.diffusion import DiffusionGenerator
from prdit.models.prdit import Estimate, PRDiT

if TYPE_CHECKING:
    from prdit import config


class PRDiTGenerator(DiffusionGenerator):
    """Stage 1 at depth 0; at any other depth, stage 2 on a frozen stage 1."""

    network: PRDiT

    def __init__(self, entry: config.PRDiT, size: int) -> None:
        network = PRDiT(
            size,
            patch=entry.patch,
            stride=entry.stride,
            width=entry.width,
            heads=entry.heads,
            depth=entry.depth,
            local=entry.local,
        )
        super().__init__(network, size, entry, entry.training)
        network.initialise(entry.training.seed, entry.start_gain if entry.start_from else 1.0)

    def start_from(self, trained: Generator) -> None:
        its = dict(trained.network.named_parameters())
        for name, parameter in self.network.local_parameters().items():
            if name not in its or its[name].shape != parameter.shape:
                raise UserError(
                    f"the stage-1 weights do not fit: {name} is missing or of another shape;"
                    " train stage 1 with the same width, patch and stride"
                )
            parameter.data.copy_(its[name])
            parameter.requires_grad_(False)

    @torch.inference_mode()
    def branches(self, index: Tensor, seed: int, sampler: config.Sampler) -> list[Tensor]:
        """What each branch says of the volume at a sampler's last call (Figure 15).

        Returns:
            The Local Denoiser's estimate and the Global DiT's residual, [B, 1, S, S, S] each, as
            far as the model has them; their sum is what `sample` returns as its prediction.
        """
        drawing = self.drawing(sampler)
        last: list[Any] = []
        denoise = drawing.denoiser()

        def watched(x: Tensor, number: int) -> Estimate:
            last[:] = [x, number]
            return denoise(x, number)

        start = self.process.noise(seed, "sampling start", index, self.size)
        walk(drawing.plan, watched, start, drawing.noise(index, seed))
        modulations = self.network.modulations(drawing.times([last[1]]))
        parts = self.network.parts(last[0], modulations)
        return [self.network.volumes(tokens)[1] for tokens in parts]


def build(entry: config.PRDiT, size: int, base: config.Model | None) -> PRDiTGenerator:  # noqa: ARG001
    """A PRDiT with initial weights, for volumes of edge `size`; it has no base."""
    return PRDiTGenerator(entry, size)
