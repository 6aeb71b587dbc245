"""Operations of matrix products and convolutions, counted without computing anything."""

from __future__ import annotations

from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from prdit.config import Critic, Model, Sampler
from prdit.critic.wgan import Critic as CriticNetwork
from prdit.generators.base import Generator, build
from prdit.generators.describe import describe
from prdit.generators.prdit import AnyPRDiT
from prdit.machine.rate import flop_per_volume
from prdit.metrics.features import resnet_3d
from prdit.recipes import TrainRecipe

META = torch.device("meta")
BACKWARD = 2
"""Operations of a backward pass, in those of the forward pass."""
CRITIC = 12
"""Operations of a critic's step, in those of a forward pass: 3 for the real volume, 3 for the
generated one, 6 for the slope between them, which is differentiated twice."""


@cache
def training(recipe: str, start: str | None) -> int:
    """Of one volume in a training.

    Args:
        recipe, start: of the training and of the one that it starts from, which may be frozen.
    """
    size, generator = TrainRecipe.model_validate_json(recipe).size, empty(recipe)
    if start is not None:
        generator.start_from(empty(start))
    generator.optimizers()
    number = torch.zeros(1, dtype=torch.int64, device=META)
    try:
        volume = torch.empty(1, 1, size, size, size, device=META)
        return int(flop_per_volume(generator.step, volume, number))
    except RuntimeError:  # it looks at a value, and there are none: HA-GAN, where its slabs begin
        return forward(recipe) * (1 + BACKWARD)


@cache
def drawing(recipe: str, sampler: str) -> int:
    """Of one volume drawn, by recipe of the training and sampler as JSON."""
    steps = Sampler.model_validate_json(sampler).steps
    first, generator = forward(recipe), empty(recipe)
    if isinstance(generator, AnyPRDiT) or not first:
        return first * steps
    each = _drawn(generator, 2) - first  # 0 where there is one pass, whatever the sampler says
    return first + (steps - 1) * each


@cache
def criticism(critic: str, size: int) -> int:
    """Of one pair in the training of a critic, by its entry as JSON."""
    with META, FlopCounterMode(display=False) as counter, torch.no_grad():
        network = CriticNetwork(Critic.model_validate_json(critic), size).network
        network(torch.empty(1, 1, size, size, size))
    return counter.get_total_flops() * CRITIC


@cache
def features(network: str, size: int) -> int:
    """Of the features of one volume."""
    with META, FlopCounterMode(display=False) as counter, torch.no_grad():
        resnet_3d(network)(torch.empty(1, 1, size, size, size))
    return counter.get_total_flops()


@cache
def parameters(recipe: str) -> int:
    """Number of parameters of a model, by the recipe of its training."""
    return sum(p.numel() for p in empty(recipe).network.parameters())


@cache
def forward(recipe: str) -> int:
    """Of one volume that passes; 0 of a user's own generator that cannot do so without values."""
    told = TrainRecipe.model_validate_json(recipe)
    try:
        return describe(_silent(told.model), told.size, told.base)[-1].flop or 0
    except RuntimeError:
        return 0


@cache
def empty(recipe: str) -> Generator:
    """A generator without a value in it, by the recipe of its training."""
    told = TrainRecipe.model_validate_json(recipe)
    with META:
        return build(_silent(told.model), told.size, told.base)


def _silent(model: Model) -> Model:
    """A model that compares images by no published network, whose file may not be there yet."""
    return model.model_copy(update={"perceptual": None}) if hasattr(model, "perceptual") else model


def _drawn(generator: Generator, steps: int) -> int:
    with FlopCounterMode(display=False) as counter:
        draw = generator.drawing(Sampler(kind="own", steps=steps))
        draw(torch.zeros(1, dtype=torch.int64, device=META), 0)
    return counter.get_total_flops()
