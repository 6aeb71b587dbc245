"""The same numbers on the GPU as on the CPU: noise, network, gradients, training, sampler, vectors.

What is right is the CPU's, in float64 where that is possible. Differences are root mean squares,
relative to what is right, unless a line says otherwise.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from prdit.config import Training
from prdit.diffusion.noise import key_on, normal, normal_at, uniform
from prdit.diffusion.process import losses
from prdit.generators.base import Generator
from prdit.machine.compiled import compiled, gave_up

from . import golden, parity_sampler
from .case import Case, clean, generator_of, off, smooth
from .lines import Lines
from .loops import Ours

BOUNDS = {"float32": 1e-5, "TF32": 1e-3, "bfloat16": 2e-2}
"""Of a forward, by what the network computes in."""
COMPILED = {"float32": 1e-5, "bfloat16": 1e-2}
"""Between compiled and eager. Eager bfloat16 rounds what compiled code keeps in float32 between two
operations: on a CPU, at four layers, each is 3.4e-3 to 4.3e-3 off, and as much from the other.
"""
GRADIENTS = 5.0
"""Times the bound of a forward."""
NOISE = 5e-6
"""Largest difference of standard normal numbers: logarithms and cosines differ in the last bits."""


def run(case: Case, lines: Lines) -> None:
    checks = (noise, forward, gradients, training, batches)
    for check in (*checks, parity_sampler.run, golden.run):
        with lines.trying(f"{check.__module__}.{check.__name__}"):
            check(case, lines)
        clean(case)
    lines.holds("no failure to compile", not gave_up(), "eager" if gave_up() else "none", "none")


def noise(case: Case, lines: Lines) -> None:
    """Addresses at both ends: indices 0 and beyond 2^33, steps 0 and 999."""
    index = torch.tensor([0, 2**33 + 5])
    there, shape = index.to(case.device), (1, *[case.pick(64, 8)] * 3)
    mine = uniform(3, "parity", there, step=999).cpu()
    worst = float((mine - uniform(3, "parity", index, step=999)).abs().max())
    lines.at_most("uniform numbers: CPU = device", worst, 0.0)

    key, quick_at = key_on(case.device, 3, "parity"), compiled(normal_at)

    def draw(index: Tensor, step: Tensor) -> Tensor:
        return normal(3, "parity", index, shape, step=step)

    def quick(index: Tensor, step: Tensor) -> Tensor:
        return quick_at(key, index, shape, step)

    for number in (0, 999):
        step = torch.full_like(index, number)
        right = draw(index, step)
        ways = {"eager": draw, "compiled": quick, "in a graph": in_a_graph(quick)}
        for way, call in ways.items():
            if way == "in a graph" and not case.cuda:
                lines.skip("normal numbers in a graph", "a CPU has none")
                continue
            worst = float((call(there, step.to(case.device)).cpu() - right).abs().max())
            lines.at_most(f"normal numbers, step {number}: CPU = {way}", worst, NOISE)


def in_a_graph(call: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The same, recorded and replayed."""

    def recorded(index: Tensor, step: Tensor) -> Tensor:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            call(index, step)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = call(index, step)
        graph.replay()
        return found.clone()

    return recorded


@contextmanager
def computing(case: Case, kind: str) -> Iterator[None]:
    """Products in float32, TF32 or bfloat16, whatever the device; a CPU knows no TF32."""
    torch.set_float32_matmul_precision("high" if kind == "TF32" else "highest")
    torch.backends.cudnn.allow_tf32 = kind == "TF32"
    with torch.autocast(case.device.type, torch.bfloat16, enabled=kind == "bfloat16"):
        yield


def forward(case: Case, lines: Lines) -> None:
    """PRDiT-4L at 128^3, and its high-resolution form."""
    for name, size in (
        ("PRDiT-4L", case.pick(128, 8)),
        ("PRDiT-4L-up", case.pick(128, 16)),
    ):
        network = generator_of(case, name, size).network.eval()
        x, t = smooth(1, size), torch.tensor([400])
        with torch.no_grad():
            right = torch.cat(copy.deepcopy(network).cpu().double()(x.double(), t))
            there, t = x.to(case.device), t.to(case.device)
            for kind, bound in BOUNDS.items():
                with computing(case, kind):
                    mine = torch.cat(network(there, t))
                lines.at_most(f"{name}, {size}^3, forward in {kind}", off(mine, right), bound)
            quick = torch.compile(network, fullgraph=True, dynamic=False)
            for kind, bound in COMPILED.items():
                with computing(case, kind):
                    made, mine = (torch.cat(call(there, t)) for call in (quick, network))
                told = f"{name}, {size}^3, {kind}: compiled = eager"
                lines.at_most(told, off(made, mine), bound)
        del network, quick
        clean(case)


def gradients(case: Case, lines: Lines) -> None:
    """Of the loss of PRDiT-4L, over all weights at once."""
    size = case.pick(64, 8)
    generator = generator_of(case, "PRDiT-4L", size)
    there, here = generator.network, copy.deepcopy(generator.network).cpu().double()
    x0, eps, t = smooth(2, size), smooth(2, size, seed=1), torch.tensor([100, 700])
    x_t = generator.process.diffuse(x0, eps, t)

    def of(network: torch.nn.Module, call: Callable[..., tuple[Tensor, Tensor]]) -> Tensor:
        like = next(network.parameters())
        x, e, v = (tensor.to(like) for tensor in (x_t, eps, x0))
        network.zero_grad()
        losses(call(x, t.to(like.device)), e, v)["loss"].backward()
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    right = of(here, here)
    for kind, bound in BOUNDS.items():
        with computing(case, kind):
            found = of(there, there)
        lines.at_most(f"gradients in {kind}", off(found, right), GRADIENTS * bound)
    with computing(case, "bfloat16"):
        made = of(there, torch.compile(there, fullgraph=True, dynamic=False))
    bound = GRADIENTS * BOUNDS["bfloat16"]
    lines.at_most("gradients in bfloat16, compiled", off(made, right), bound)


def trained(
    case: Case,
    device: torch.device,
    *,
    precision: str,
    quick: bool,
    steps: int,
    batch: int,
    micro_batch: int,
) -> tuple[list[float], Generator]:
    """Losses of the first steps of PRDiT-4L at 64^3, as the package trains it."""
    where = Case(device, case.out)
    size = case.pick(64, 8)
    generator = generator_of(case, "PRDiT-4L", size)
    generator.network.to(device)
    training = Training(volumes=1, batch=batch, learning_rate=1e-4, precision=precision)
    loop = Ours(where, generator, training, micro_batch, smooth(2 * batch, size))
    if quick:
        generator.compile()
    return loop.bare(steps), generator


def training(case: Case, lines: Lines) -> None:
    steps, cpu = case.pick(10, 4), torch.device("cpu")
    plain = {"batch": 4, "micro_batch": 2, "steps": steps}
    right, _ = trained(case, cpu, precision="float32", quick=False, **plain)
    for precision, quick, bound in (
        ("float32", False, 1e-4),
        ("float32", True, 1e-4),
        ("tf32", True, 3e-3),
        ("bfloat16", True, 1e-2),
    ):
        found, _ = trained(case, case.device, precision=precision, quick=quick, **plain)
        worst = max(abs(a - b) / b for a, b in zip(found, right, strict=True))
        how = f"{precision}{', compiled' if quick else ', eager'}"
        lines.at_most(f"losses of {steps} training steps, {how}: device = CPU", worst, bound)
        clean(case)


def batches(case: Case, lines: Lines) -> None:
    """A step's losses and weights do not depend on how many volumes there are at a time."""
    whole, parts = case.pick((16, (8, 5, 1)), (8, (4, 3, 1)))
    told = {"precision": "float32", "quick": False, "steps": 2, "batch": whole}
    right, generator = trained(case, case.device, micro_batch=whole, **told)
    weights = torch.cat([p.detach().flatten() for p in generator.network.parameters()])
    for part in parts:
        found, other = trained(case, case.device, micro_batch=part, **told)
        worst = max(abs(a - b) / b for a, b in zip(found, right, strict=True))
        lines.at_most(f"losses, micro-batch {whole} = {part}", worst, 1e-4)
        mine = torch.cat([p.detach().flatten() for p in other.network.parameters()])
        lines.at_most(f"weights, micro-batch {whole} = {part}", off(mine, weights), 1e-3)
