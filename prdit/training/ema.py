"""The exponential moving average of the weights, which sampling uses (released code)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Average:
    """average <- decay average + (1 - decay) weights after each step; starts as a copy.

    Frozen parameters and buffers do not change and are not averaged.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay = network, decay
        self.names = [name for name, p in network.named_parameters() if p.requires_grad]
        self.weights = [p.detach() for p in network.parameters() if p.requires_grad]
        self.averages = [w.clone() for w in self.weights]

    def update(self) -> None:
        """Follow the weights by one step."""
        torch._foreach_lerp_(self.averages, self.weights, 1 - self.decay)

    def state(self) -> dict[str, Tensor]:
        """The network's state with the averages in place of the weights."""
        averages = dict(zip(self.names, self.averages, strict=True))
        return {**self.network.state_dict(), **averages}
