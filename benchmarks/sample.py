"""How fast samples are drawn beside a plain loop, for one model on one device, one at a time."""

from __future__ import annotations

import math
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from prdit.config import Sampler
from prdit.config.file import load_file
from prdit.diffusion.samplers import schedule
from prdit.files import write_json
from prdit.generators.base import Generator, build
from prdit.machine.device import uses_gpu
from prdit.machine.memory import peak_gib
from prdit.machine.rate import matrix_rate, synchronise

NUMBERS = {"size": 32, "batch": 1, "steps": 20, "repeats": 10, "threads": 1}
DEVICE = torch.device("cuda", 0) if uses_gpu() else torch.device("cpu")
CUDA = DEVICE.type == "cuda"
NAME = torch.cuda.get_device_name() if CUDA else f"CPU ({torch.backends.cpu.get_cpu_capability()})"
HEAD = """{model} at {size}^3, {steps} steps, batch {batch}, k = 2; {device}, threads {threads}
matrix products: {gflop_per_step:.3g} GFLOP per step; alone {gflop_per_s:.1f} GFLOP/s"""
LINE = (
    "{mean:.3f} ± {std:.3f} s per volume, {ms_per_step:.2f} ms per step, {share:.1%} of that rate,"
    " {peak_gib:.2f} GiB at most"
)


def trained(case: Namespace) -> Generator:
    """The model with random weights, none of them zero, on the device."""
    torch.manual_seed(0)
    generator = build(case.entry, case.size, case.base)
    for parameter in generator.network.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    generator.network.to(DEVICE).eval().requires_grad_(False)
    return generator


def ours(case: Namespace) -> Callable[[int], object]:
    """The package's way, as the sample step takes it."""
    draw = trained(case).drawing(Sampler(k=2, steps=case.steps))
    return lambda first: draw(torch.arange(first, first + case.batch, device=DEVICE), 0)


def plain(case: Namespace) -> Callable[[int], object]:
    """Algorithm 1 as one writes it: no tables, noise by torch.randn, all in float32 (TF32)."""
    network, process = trained(case).network, trained(case).process
    times = schedule(process.timesteps, case.steps)

    @torch.no_grad()
    def draw(_: int) -> torch.Tensor:
        torch.set_float32_matmul_precision("high" if CUDA else "highest")
        x = torch.randn(case.batch, 1, *(case.size,) * 3, device=DEVICE)
        for now, after in pairwise(times):
            eps, x0 = network(x, torch.full((case.batch,), now, device=DEVICE))
            landing = now - 2 * (now - after)
            theta, to = process.angle(now), process.angle(landing if landing > 0 else after)
            x = x + (theta - to) * (math.sin(theta) * x0 - math.cos(theta) * eps)
            if landing > 0:
                alpha = math.cos(process.angle(after)) / math.cos(to)
                x = alpha * x + math.sqrt(1 - alpha**2) * torch.randn_like(x)
        return x

    return draw


def forward(case: Namespace) -> Callable[[int], object]:
    """The network alone, as often as it is called for a volume: what no sampler can do without."""
    network = trained(case).network
    x = torch.randn(case.batch, 1, *(case.size,) * 3, device=DEVICE)

    @torch.inference_mode()
    def call(_: int) -> None:
        modulations = network.modulations(torch.tensor([500], device=DEVICE))
        for _ in range(case.steps):
            network(x, modulations)

    return call


WAYS = {"prdit": ours, "plain": plain}


def peak(name: str, case: Namespace) -> float:
    """GiB that a process takes which does nothing else."""
    torch.set_num_threads(case.threads)
    WAYS[name](case)(0)
    return peak_gib(DEVICE)


def seconds(way: Callable[[int], object], number: int) -> float:
    started = time.perf_counter()
    way(number)
    synchronise(DEVICE)
    return time.perf_counter() - started


def measure(case: Namespace) -> dict[str, Any]:
    """Both ways and the forward alone in turn, after one volume each that does not count."""
    memory = {}
    for name in WAYS:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            memory[name] = process.submit(peak, name, case).result()
    torch.set_num_threads(case.threads)
    ways = {name: way(case) for name, way in [*WAYS.items(), *([] if CUDA else [FORWARD])]}
    rate, taken = [], []
    for way in ways.values():
        way(0)
    for number in range(case.repeats):
        rate.append(matrix_rate(DEVICE, torch.bfloat16 if CUDA else torch.float32))
        turn = list(ways.items())[:: 1 if number % 2 else -1]  # neither is always after the other
        taken.append({name: seconds(way, number) for name, way in turn})
    flop = gflop(case)
    told: dict[str, Any] = {"gflop_per_step": flop, "gflop_per_s": median(rate) / 1e9}
    for name in WAYS:
        each = [one[name] / case.batch for one in taken]
        step = median(each) * case.batch / case.steps
        told[name] = {"mean": mean(each), "std": stdev(each), "ms_per_step": 1e3 * step}
        told[name] |= {"share": flop / step / told["gflop_per_s"], "peak_gib": memory[name]}
    told["ratio"] = median(one["plain"] / one["prdit"] for one in taken)
    if not CUDA:
        told["overhead"] = median(one["prdit"] / one["forward"] - 1 for one in taken)
    return told


FORWARD = ("forward", forward)
"""Only where nothing is compiled or recorded, so that it is the same forward."""


def gflop(case: Namespace) -> float:
    """Of the matrix products of a step."""
    with FlopCounterMode(display=False) as counter:
        case_of_one = Namespace(**{**vars(case), "steps": 1})
        forward(case_of_one)(0)
    return counter.get_total_flops() / 1e9


def show(told: dict[str, Any]) -> None:
    print(HEAD.format(**told))
    for name in WAYS:
        print(f"{name}:", LINE.format(**told[name]))
    print(f"plain takes {told['ratio']:.3f} times as long (median of pairs)")
    if "overhead" in told:
        print(f"beyond the forward: {told['overhead']:.1%} (median of pairs)")


def main() -> None:
    parser = ArgumentParser(allow_abbrev=False, description=__doc__)
    parser.add_argument("--model", required=True, help="a model of the config")
    parser.add_argument("--config", type=Path, default=Path("config/paper.yaml"))
    parser.add_argument("--json", type=Path, help="file to write")
    for name, default in {**NUMBERS, "depth": None, "width": None, "heads": None}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    case = parser.parse_args()
    config = load_file(case.config)
    changes = {k: getattr(case, k) for k in ("depth", "width", "heads") if getattr(case, k)}
    case.entry = config.models[case.model].model_copy(update=changes)
    case.base = config.base(case.model)
    told = {name: vars(case)[name] for name in ("model", *NUMBERS)} | measure(case)
    told |= {"device": NAME, "torch": torch.__version__}
    show(told)
    if case.json:
        write_json(case.json, told)


if __name__ == "__main__":
    main()
