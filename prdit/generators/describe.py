"""What a model consists of and costs, without making it: `prdit describe MODEL`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from prdit.config import Sampler
from prdit.generators.base import Generator, build
from prdit.generators.prdit import AnyPRDiT
from prdit.generators.vq_gan import VQGAN

if TYPE_CHECKING:
    from prdit.config import Model

TRAINING_BYTES = 4 * 4
"""Per trained parameter: weight, gradient and two moments of Adam in float32."""


@dataclass(frozen=True)
class Part:
    """One part of a network."""

    name: str
    parameters: int
    trained: int
    flop: int | None
    """Floating-point operations of its matrix products where one volume passes through it once;
    None of a rival's, which are counted together."""


def describe(entry: Model, size: int, base: Model | None = None) -> list[Part]:
    """The parts of a model on volumes of edge `size`, and their sum last.

    One multiply-add is two operations; only matrix products count. Nothing is allocated.
    """
    with torch.device("meta"):
        generator = build(entry, size, base)
    network, counter = generator.network, FlopCounterMode(display=False)
    with counter, torch.no_grad():
        once(generator, size)
    counts = {name: sum(each.values()) for name, each in counter.get_flop_counts().items()}
    parts = [
        Part(name, *parameters(part), within(counts, f"{type(network).__name__}.{name}"))
        for name, part in network.named_children()
    ]
    if not isinstance(generator, AnyPRDiT):
        parts = [Part(part.name, part.parameters, part.trained, None) for part in parts]
    return [*parts, Part("all", *parameters(network), counter.get_total_flops())]


def once(generator: Generator, size: int) -> None:
    """Let one volume pass: of PRDiT, through its network; of a rival, drawn in one step."""
    meta = torch.device("meta")
    if isinstance(generator, AnyPRDiT):
        x = torch.empty(1, 1, size, size, size, device=meta)
        generator.network(x, torch.empty(1, device=meta))
    elif isinstance(generator, VQGAN):
        generator.passed(torch.empty(1, 1, size, size, size, device=meta))
    else:
        draw = generator.drawing(Sampler(kind="own", steps=1))
        draw(torch.zeros(1, dtype=torch.int64, device=meta), 0)


def within(counts: dict[str, int], part: str) -> int:
    """Operations of a part, and of what in it depends on the time, which is called from outside."""
    inner = {name for name in counts if name.startswith(f"{part}.")}
    timely = {name for name in inner if name.endswith(("modulation", ".time"))}
    return sum(counts.get(name, 0) for name in {part, *timely})


def parameters(network: nn.Module) -> tuple[int, int]:
    """Number of parameters, and of those that are trained."""
    every = list(network.parameters())
    return sum(p.numel() for p in every), sum(p.numel() for p in every if p.requires_grad)


def gflop(flop: int | None) -> str:
    """In a column of 18 characters."""
    return (
        " " * 18 if flop is None else f"{flop / 1e9:18.3g}" if flop < 1e9 else f"{flop / 1e9:18.1f}"
    )


def in_words(name: str, size: int, parts: list[Part]) -> str:
    """The parts as lines of text, then what memory the model needs."""
    lines = [f"{name} at {size}^3", f"{'part':14} {'parameters':>14} {'GFLOP per forward':>18}"]
    lines += [f"{p.name:14} {p.parameters:14,} {gflop(p.flop)}" for p in parts]
    total, trained = parts[-1].parameters, parts[-1].trained
    lines.append(f"weights: {total * 4 / 2**20:.0f} MiB in float32, half of that in bfloat16")
    lines.append(
        f"training {'all' if trained == total else f'{trained:,}'} of it:"
        f" {(trained * (TRAINING_BYTES + 4) + (total - trained) * 4) / 2**20:.0f} MiB of weights,"
        " gradients, moments and averages, activations apart"
    )
    return "\n".join(lines)
