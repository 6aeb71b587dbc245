"""All that a training is between two steps."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from prdit.config import Training
from prdit.generators.base import Trainable
from prdit.training.ema import Average


class State:
    """Weights, averages, moments, and how far the training is.

    What comes next is a function of the seed and of `volumes`: order, noise, timesteps and learning
    rates are not drawn from generators that would have states of their own.
    """

    def __init__(self, generator: Trainable, training: Training) -> None:
        self.network = generator.network
        self.optimizers = generator.optimizers()
        self.average = Average(generator.network, training.ema)
        self.volumes = 0
        self.skipped = 0
        """Steps whose losses or gradients were not finite."""
        self.seconds = 0.0
        """Of every process, summed, over all attempts."""

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, on the CPU."""
        found = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        names = zip(self.average.names, self.average.averages, strict=True)
        found |= {f"average.{name}": value for name, value in names}
        found |= dict(self._moments())
        for name in ("volumes", "skipped", "seconds"):
            found[name] = torch.tensor(getattr(self, name), dtype=torch.float64)
        return {name: value.detach().cpu().contiguous() for name, value in found.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Become what `tensors` gave."""
        self.network.load_state_dict(_below("network.", tensors))
        averages = _below("average.", tensors)
        for name, average in zip(self.average.names, self.average.averages, strict=True):
            average.copy_(averages[name])
        for number, optimizer in enumerate(self.optimizers):
            moments: dict[int, dict[str, Tensor]] = {}
            for name, value in _below(f"optimizer.{number}.", tensors).items():
                parameter, key = name.split(".", 1)
                moments.setdefault(int(parameter), {})[key] = value
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.volumes, self.skipped = int(tensors["volumes"]), int(tensors["skipped"])
        self.seconds = float(tensors["seconds"])

    def _moments(self) -> Iterator[tuple[str, Tensor]]:
        for number, optimizer in enumerate(self.optimizers):
            for parameter, values in optimizer.state_dict()["state"].items():
                for key, value in values.items():
                    yield f"optimizer.{number}.{parameter}.{key}", value


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
