"""PRDiT, its stage 1 and its ablations as a generator (sections 3.1 and 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from prdit.diffusion.noise import Key, key, key_on, normal, normal_at, uniform_at
from prdit.diffusion.process import Process, losses
from prdit.diffusion.samplers import walk
from prdit.errors import UserError
from prdit.generators.base import Generator, Update
from prdit.generators.drawing import Drawing, Network
from prdit.generators.weights import misfit
from prdit.machine.compiled import compiled
from prdit.models.prdit import Estimate, PRDiT

if TYPE_CHECKING:
    from prdit import config


PURPOSES = ("timestep", "training noise")


class AnyPRDiT(Generator):
    """PRDiT, or its high-resolution form: (x_t, t) -> (eps, x0), trained by Eq. 3 and 4."""

    network: Network

    def __init__(
        self, network: Network, size: int, base: config.PRDiT, training: config.Training
    ) -> None:
        self.network, self.size, self.training = network, size, training
        self.process = Process(base.timesteps, base.noise_std, base.first_timestep)
        self.keys: list[Key] = [key(training.seed, purpose) for purpose in PURPOSES]

    def optimizers(self) -> list[Optimizer]:
        trained = [p for p in self.network.parameters() if p.requires_grad]
        rate = self.training.learning_rate
        self.optimizer = AdamW(trained, lr=rate, weight_decay=0.0, fused=True)
        return [self.optimizer]

    def step(self, update: Update) -> dict[str, Tensor]:
        return update(self.optimizer, self.losses)

    def losses(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Eq. 3 and 4 at random timesteps."""
        return self.losses_by(x0, index, *self.keys)

    def losses_by(
        self, x0: Tensor, index: Tensor, of_timesteps: Key, of_noise: Key
    ) -> dict[str, Tensor]:
        """The same by given keys: all that a GPU compiles of a training, as one graph."""
        t = self.process.timesteps_at(uniform_at(of_timesteps, index))
        return self._losses_at(x0, t, normal_at(of_noise, index, tuple(x0.shape[1:])))

    def validation(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        t = self.process.spread_timesteps(index)
        return self._losses_at(x0, t, normal(0, "validation noise", index, tuple(x0.shape[1:])))

    def _losses_at(self, x0: Tensor, t: Tensor, noise: Tensor) -> dict[str, Tensor]:
        eps = self.process.noise_std * noise
        return self.terms(self.process.diffuse(x0, eps, t), t, eps, x0)

    def terms(self, x_t: Tensor, t: Tensor, eps: Tensor, x0: Tensor) -> dict[str, Tensor]:
        """ "loss", which is trained, and its parts."""
        return losses(self.network(x_t, t), eps, x0)

    def compile(self) -> None:
        device = next(self.network.parameters()).device
        self.keys = [key_on(device, self.training.seed, purpose) for purpose in PURPOSES]
        self.losses_by = compiled(self.losses_by)  # type: ignore[method-assign]

    def drawing(self, sampler: config.Sampler) -> Drawing:
        return Drawing(self.network, self.process, self.size, sampler)


class PRDiTGenerator(AnyPRDiT):
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
        mine = self.network.local_parameters()
        its = {name: p for name, p in trained.network.named_parameters() if name in mine}
        wrong = misfit(mine, its)
        if wrong:
            raise UserError(
                f"the stage-1 weights do not fit: {wrong}; train stage 1 with the same width,"
                " patch and stride"
            )
        for name, parameter in mine.items():
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
