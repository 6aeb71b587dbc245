"""Initial weights (Tables 9 and 10; gains and standard deviations from the released code)."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn

from prdit.diffusion.noise import generator

SMALL_GAIN = 0.1
"""Xavier gain of the patch embedding's linear skip."""


@torch.no_grad()
def initialise(network: nn.Module, zero: Collection[nn.Module], seed: int, gain: float) -> None:
    """Xavier-uniform linear layers of a gain, zero biases; time embeddings normal, std 0.02.

    Each tensor is a function of (seed, its name), whatever else the network has.

    Args:
        zero: linear layers that start at zero.
    """
    if any(p.is_meta for p in network.parameters()):
        return  # only described, never run
    zeros = {id(layer) for layer in zero}
    for name, module in network.named_modules():
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()
        elif isinstance(module, nn.Linear):
            if module.bias is not None:
                nn.init.zeros_(module.bias)
            random = generator(seed, f"initial weights {name}")
            if id(module) in zeros:
                nn.init.zeros_(module.weight)
            elif name.split(".")[0] == "time":
                nn.init.normal_(module.weight, std=0.02, generator=random)
            else:
                own = SMALL_GAIN if name.endswith("embedding.skip") else gain
                nn.init.xavier_uniform_(module.weight, own, generator=random)
