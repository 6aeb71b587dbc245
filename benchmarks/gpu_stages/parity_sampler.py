"""The sampler: a recorded step repeated (on a CPU, repeated as it is) against the plain walk."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from prdit.generators.base import Generator
from prdit.generators.drawing import Drawing, Repeated

from .case import Case, clean, generator_of, off, sampler
from .lines import Lines

KINDS: dict[str, dict[str, Any]] = {
    "k = 1": {"k": 1},
    "k = 2": {"k": 2},
    "k = 2.5": {"k": 2.5},
    "noise only, k = 2": {"kind": "noise_only", "k": 2},
    "conventional": {"kind": "conventional"},
}
SAME, SAME_BATCH, HALF = 1e-4, 1e-4, 5e-2
"""Between two ways in float32; between two sizes of batches; between bfloat16 and float32."""
SEED = 7


def run(case: Case, lines: Lines) -> None:
    for name, size in (("PRDiT-4L", case.pick(64, 8)), ("PRDiT-4L-up", case.pick(64, 16))):
        generator = generator_of(case, name, size)
        generator.network.eval().requires_grad_(False)
        with lines.trying(f"samplers of {name}"):
            kinds(case, lines, generator, f"{name}, {size}^3")
            clean(case)
    generator = generator_of(case, "PRDiT-4L", case.pick(64, 8))
    generator.network.eval().requires_grad_(False)
    with lines.trying("batches of samples"):
        batches(case, lines, generator)
    clean(case)
    with lines.trying("samples in bfloat16"):
        precisions(case, lines, generator)


def repeating(generator: Generator, **told: Any) -> Drawing:
    """A drawing whose step is recorded and replayed, or on a CPU called as often."""
    drawing: Drawing = generator.drawing(told["sampler"])
    if drawing.repeated is None:
        drawing.repeated = Repeated(drawing, torch.float32)
    return drawing


def walking(generator: Generator, **told: Any) -> Drawing:
    """The same sampler as a plain loop, eager."""
    drawing: Drawing = generator.drawing(told["sampler"])
    drawing.repeated = None
    return drawing


def kinds(case: Case, lines: Lines, generator: Generator, name: str) -> None:
    here = copy.deepcopy(generator)
    here.network.cpu()
    index = torch.tensor([2, 2**33 + 11])
    way = "graph" if case.cuda else "repeated step (a CPU has no graph)"
    for kind, told in KINDS.items():
        chosen = sampler(case, **told)
        right = walking(here, sampler=chosen)(index, SEED)
        there = index.to(case.device)
        walked = walking(generator, sampler=chosen)(there, SEED)
        lines.at_most(f"{name}, {kind}: walk on the device = on the CPU", off(walked, right), SAME)
        replayed = repeating(generator, sampler=chosen)(there, SEED)
        lines.at_most(f"{name}, {kind}: {way} = walk", off(replayed, walked), SAME)


def batches(case: Case, lines: Lines, generator: Generator) -> None:
    """Volume 7 alone, among eight, and in a batch that is filled up; and of another seed."""
    told = {"sampler": sampler(case, k=2)}
    numbers = torch.arange(8, device=case.device)
    alone = repeating(generator, **told)(numbers[7:], SEED)
    clean(case)
    drawing = repeating(generator, **told)
    all_eight = drawing(numbers, SEED)
    lines.at_most("volume 7: alone = among 8", off(all_eight[7:], alone), SAME_BATCH)
    recorded = drawing.repeated.recorded
    some = drawing(numbers[5:], SEED)
    lines.at_most("volumes 5 to 7: 3 filled up = among 8", off(some, all_eight[5:]), SAME_BATCH)
    other = drawing(numbers[5:], SEED + 1)
    right = walking(generator, **told)(numbers[5:], SEED + 1)
    lines.at_most("another seed with the same graph = walk", off(other, right), SAME_BATCH)
    lines.at_least("another seed draws other volumes", off(other, some), 0.1)
    kept = drawing.repeated.recorded is recorded
    lines.holds("a new seed, and fewer volumes", kept, "recorded once" if kept else "anew", "once")
    finite(lines, all_eight)


def precisions(case: Case, lines: Lines, generator: Generator) -> None:
    """bfloat16 rounds the network's estimates; the state stays in float32."""
    index = torch.arange(2, device=case.device)
    told = {"k": 2, "steps": case.pick(200, 20)}
    right = walking(generator, sampler=sampler(case, **told))(index, SEED)
    half = generator.drawing(sampler(case, **told, precision="bfloat16"))
    if half.repeated is None:
        half.repeated = Repeated(half, torch.bfloat16)
    found = half(index, SEED)
    lines.at_most(f"{told['steps']} steps in bfloat16 = in float32", off(found, right), HALF)
    tf32 = repeating(generator, sampler=sampler(case, **told, precision="tf32"))(index, SEED)
    lines.at_most(f"{told['steps']} steps in TF32 = in float32", off(tf32, right), HALF)


def finite(lines: Lines, x: Tensor) -> None:
    count = int((~x.isfinite()).sum())
    lines.at_most("values that are not finite", float(count), 0.0)
