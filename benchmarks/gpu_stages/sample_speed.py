"""Sampling: seconds a volume, share of the rate of products, and loops without the package."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from statistics import mean, median, stdev

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from prdit.diffusion.samplers import schedule
from prdit.generators.base import Generator
from prdit.machine.device import device_name

from .case import Case, clean, generator_of, peak_gb, product_rate, sampler
from .kernels import classes, milliseconds
from .lines import Lines
from .loops import PLAIN_WAYS, autocast, seconds
from .predictions import SAMPLING, beside
from .train_speed import bounded, unless_too_large

SHARE, BEST, RELEASED = 0.55, 1.2, 8.0
"""Of the rate of products at batch 8; times of the best plain loop and of a released-like one."""
MODELS = (
    ("PRDiT-4L", 128, (1, 8, 4)),
    ("PRDiT-12L", 128, (1, 8)),
    ("PRDiT-4L-up", 256, (1, 4)),
    ("PRDiT-8L", 128, (1, 8)),
    ("PRDiT-12L@rad", 128, (1, 8)),
)
NEEDED_S, STEPS = 30.0, 1000
"""Seconds for a model and batch, compiling included; steps of the paper's sampler."""


def run(case: Case, lines: Lines) -> None:
    for number, (name, size, batches) in enumerate(MODELS):
        size = case.pick(size, size // 16)
        with lines.trying(name):
            generator = drawn_from(case, name, size)
            for batch in batches:
                told = f"{name}, {size}^3, batch {batch}"
                if case.left() < case.pick(NEEDED_S, 1.0):
                    lines.skip(told, "no time was left")
                    continue
                with unless_too_large(lines, told):
                    one(case, lines, generator, name, batch, told)
                clean(case)
            if number == 0:
                with lines.trying("table 6"):
                    table_6(case, lines, generator)
                clean(case)
                with lines.trying("plain loops"):
                    beside_plain(case, lines, generator)
        clean(case)


def drawn_from(case: Case, name: str, size: int) -> Generator:
    generator = generator_of(case, name, size)
    generator.network.eval().requires_grad_(False)
    return generator


def drawing(case: Case, generator: Generator, steps: int) -> Callable[[Tensor, int], Tensor]:
    return generator.drawing(sampler(case, k=2, steps=steps, precision="bfloat16"))


def flop_of(case: Case, generator: Generator) -> float:
    """Of the matrix products of a step, for one volume."""
    x = torch.zeros(1, 1, *(generator.size,) * 3, device=case.device)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        modulations = generator.network.modulations(torch.tensor([500], device=case.device))
        before = counter.get_total_flops()
        generator.network(x, modulations)
    return counter.get_total_flops() - before


def one(case: Case, lines: Lines, generator: Generator, name: str, batch: int, told: str) -> None:
    rate, steps = product_rate(case, torch.bfloat16, 0.5), case.pick(100, 4)
    flop = flop_of(case, generator)
    draw, index = drawing(case, generator, steps), torch.arange(batch, device=case.device)
    first = seconds(case, lambda: draw(index, 0))
    spent = median(seconds(case, lambda: draw(index, 0)) for _ in range(3))
    each = spent / steps / batch
    words = beside(SAMPLING.get((name, batch)), device_name(case.device))
    lines.info(f"{told}: ms a volume and step", f"{1e3 * each:.3g}{words}")
    share, what = flop / each / rate, f"{told}: share of {rate / 1e12:.3g} TFLOP/s"
    if batch == 8:
        bounded(case, lines, what, share, SHARE)
    else:
        lines.info(what, share)
    lines.info(f"{told}: GB at most, s of the first draw", f"{peak_gb(case):.3g}, {first:.3g}")
    if name == "PRDiT-4L":
        lines.info(f"{told}: kernels", classes(milliseconds(case, lambda: draw(index, 0))))


def table_6(case: Case, lines: Lines, generator: Generator) -> None:
    """One volume at a time in full, as the paper's Table 6; three of them."""
    steps = case.pick(STEPS, 20)
    draw, index = drawing(case, generator, steps), torch.arange(1, device=case.device)
    draw(index, 0)
    taken = [seconds(case, lambda: draw(index, 0)) for _ in range(3)]
    found = f"{mean(taken):.4g} +- {stdev(taken):.2g} (paper, A100: 11.46)"
    lines.info(f"PRDiT-4L: s a volume of {steps} steps", found)


def plain(case: Case, generator: Generator, way: str, steps: int) -> Callable[[Tensor], Tensor]:
    """Algorithm 1 at k = 2 as one writes it: no tables, noise by torch.randn.

    The released-like way keeps a copy of every state in host memory.
    """
    process, keeps = generator.process, way.startswith("released")
    network = torch.compile(generator.network) if "compile" in way else generator.network
    times = schedule(process.timesteps, steps)

    @torch.no_grad()
    def draw(x: Tensor) -> Tensor:
        torch.set_float32_matmul_precision("high" if "TF32" in way else "highest")
        way_taken = []
        for now, after in pairwise(times):
            with autocast(case, way):
                eps, x0 = network(x, torch.full((len(x),), now, device=x.device))
            landing = now - 2 * (now - after)
            theta, to = process.angle(now), process.angle(landing if landing > 0 else after)
            x = x + (theta - to) * (math.sin(theta) * x0.float() - math.cos(theta) * eps.float())
            if landing > 0:
                alpha = math.cos(process.angle(after)) / math.cos(to)
                x = alpha * x + math.sqrt(1 - alpha**2) * torch.randn_like(x)
            if keeps:
                way_taken.append(x.cpu())
        return x

    return draw


def beside_plain(case: Case, lines: Lines, generator: Generator) -> None:
    """The package's way and plain ones in turn, at batch 1 and 8."""
    steps = case.pick(50, 3)
    for batch in (1, 8):
        index = torch.arange(batch, device=case.device)
        mine = drawing(case, generator, steps)
        calls: dict[str, Callable[[], object]] = {
            "prdit": lambda mine=mine, index=index: mine(index, 0)
        }
        x = torch.randn(batch, 1, *(generator.size,) * 3, device=case.device)
        for way in PLAIN_WAYS:
            draw = plain(case, generator, way, steps)
            calls[way] = lambda draw=draw, x=x: draw(x)
        for call in calls.values():
            call()
        taken = []
        for turn in range(3):
            order = list(calls.items())[:: 1 if turn % 2 else -1]
            taken.append({way: seconds(case, call) for way, call in order})
        ratios = {}
        for way in calls:
            each = median(one[way] for one in taken) / steps / batch
            ratios[way] = median(one[way] / one["prdit"] for one in taken)
            value = f"{1e3 * each:.3g}, {ratios[way]:.3g}"
            lines.info(f"PRDiT-4L, batch {batch}, {way}: ms a step, times ours", value)
        told = f"PRDiT-4L, batch {batch}: "
        best = min(ratios[way] for way in PLAIN_WAYS[:3])
        bounded(case, lines, f"{told}best plain loop takes, times ours", best, BEST)
        bounded(case, lines, f"{told}released-like takes", ratios[PLAIN_WAYS[3]], RELEASED)
        clean(case)
