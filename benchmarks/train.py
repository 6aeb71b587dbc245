"""How fast the training loop is beside a plain one, for one model on one device."""

from __future__ import annotations

import math
import sys
import time
from argparse import ArgumentParser, Namespace
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.nn.functional import mse_loss
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from prdit.config import PRDiT
from prdit.config.file import load_file
from prdit.data.store import FULL, Store
from prdit.errors import Interrupted
from prdit.files import write_json
from prdit.generators.base import Generator, build
from prdit.machine.device import uses_gpu
from prdit.machine.memory import peak_gib
from prdit.machine.processes import Processes
from prdit.machine.rate import flop_per_volume, matrix_rate, synchronise
from prdit.machine.stop import Stop
from prdit.training.feed import Feed
from prdit.training.loop import train
from prdit.training.state import State
from prdit.training.update import Updates

WARM_UP, STORED, LONG = 3, 32, 10**9
"""Steps before a measurement; volumes to train on, at least, and in all: reports are rare."""
NUMBERS = {"size": 32, "batch": 4, "micro_batch": 4, "steps": 10, "repeats": 3, "threads": 1}
DEVICE = torch.device("cuda", 0) if uses_gpu() else torch.device("cpu")
CUDA = DEVICE.type == "cuda"
NAME = torch.cuda.get_device_name() if CUDA else f"CPU ({torch.backends.cpu.get_cpu_capability()})"
HEAD = """{model} at {size}^3, batch {batch}; {device}, threads {threads}
matrix products: {gflop_per_volume:.3g} GFLOP per volume; alone {gflop_per_s:.1f} GFLOP/s"""
LINE = "{volumes_per_second:.3f} volumes/s, {share:.1%} of that rate, {peak_gib:.2f} GiB at most"


def start(case: Namespace) -> tuple[Generator, torch.Tensor]:
    """Random weights, of a stage 2 on a frozen stage 1; random volumes, int16 [N, S, S, S]."""
    made = build(case.entry, case.size)
    if case.entry.start_from is not None:
        first = case.entry.model_copy(update={"depth": 0, "start_from": None})
        made.start_from(build(first, case.size))
    made.network.to(DEVICE).train()
    shape = (max(STORED, case.batch), *(case.size,) * 3)
    return made, torch.randint(-FULL, FULL + 1, shape, dtype=torch.int16)


class Ours(Stop):
    """The package's loop; this is what stops it, and its journal and saved states: none."""

    seconds = 0.0

    def __init__(self, case: Namespace) -> None:
        super().__init__()
        self.training, self.micro_batch = case.entry.training, case.micro_batch
        self.precision = self.training.precision if CUDA else "float32"
        self.generator, volumes = start(case)
        parts = ["train"] * len(volumes)
        store = Store(volumes.numpy(), parts, parts, (-1000.0, 400.0), False, 1.0, "", "")
        self.feed, self.state = Feed(store, "train", DEVICE), State(self.generator, self.training)
        self.state.volumes = 10 * self.training.batch  # the first steps are reported
        first = torch.zeros(1, dtype=torch.int64)
        self.flop = flop_per_volume(self.generator.step, self.feed(first), first.to(DEVICE))
        if CUDA:
            self.generator.compile()

    def run(self, steps: int) -> None:
        self.left = steps
        updates = Updates(Processes(DEVICE), self.training, self.micro_batch)
        data = {"feed": self.feed, "held_out": self.feed, "save_every": math.inf}
        told = {"journal": self, "states": self, "stop": self}
        with suppress(Interrupted):
            train(self.generator, self.state, self.training, updates=updates, **data, **told)

    def asked(self) -> bool:
        self.left -= 1
        return self.left == 0

    def save(self, state: State) -> None: ...


class Plain:
    """The loop that one writes without this package, on the same network."""

    precision = "tf32" if CUDA else "float32"

    def __init__(self, case: Namespace) -> None:
        self.case, self.entry, self.training = case, case.entry, case.entry.training
        generator, volumes = start(case)
        self.network, self.volumes = generator.network, (volumes.to(DEVICE) / FULL).unsqueeze(1)
        self.weights = [p for p in self.network.parameters() if p.requires_grad]
        self.averages = [p.detach().clone() for p in self.weights]
        self.optimizer = AdamW(self.weights, self.training.learning_rate, weight_decay=0.0)

    def run(self, steps: int) -> None:
        torch.set_float32_matmul_precision("high")
        for _ in range(steps):
            self.step()

    def step(self) -> float:
        chosen = torch.randint(len(self.volumes), (self.case.batch,), device=DEVICE)
        self.optimizer.zero_grad()
        total = torch.zeros((), device=DEVICE)
        for x0 in self.volumes[chosen].split(self.case.micro_batch):
            t = torch.randint(1, self.entry.timesteps + 1, (len(x0),), device=DEVICE)
            angle = (math.pi / 2 / self.entry.timesteps * t).view(-1, 1, 1, 1, 1)
            eps = self.entry.noise_std * torch.randn_like(x0)
            noise, signal = self.network(angle.cos() * x0 + angle.sin() * eps, t)
            loss = (mse_loss(noise, eps) + mse_loss(signal, x0)) * len(x0) / self.case.batch
            loss.backward()
            total += loss.detach()
        clip_grad_norm_(self.weights, self.training.clip)
        self.optimizer.step()
        torch._foreach_lerp_(self.averages, [p.data for p in self.weights], 1 - self.training.ema)
        return total.item()


LOOPS = {"prdit": Ours, "plain": Plain}


def peak(name: str, case: Namespace) -> float:
    """GiB that this process takes with one loop, if it has done nothing else."""
    torch.set_num_threads(case.threads)
    LOOPS[name](case).run(WARM_UP)
    return peak_gib(DEVICE)


def seconds(loop: Ours | Plain, steps: int) -> float:
    """Time of some steps, until the device has done them; it is idle before."""
    started = time.perf_counter()
    loop.run(steps)
    synchronise(DEVICE)
    return time.perf_counter() - started


def measure(case: Namespace) -> dict[str, Any]:
    """Blocks of steps of both loops in turn, and the rate of matrix products before each pair."""
    memory = {}
    for name in LOOPS:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            memory[name] = process.submit(peak, name, case).result()
    torch.set_num_threads(case.threads)
    loops, rates, pairs = {name: loop(case) for name, loop in LOOPS.items()}, [], []
    for loop in loops.values():
        loop.run(WARM_UP)
    for _ in range(case.repeats):
        rates.append(matrix_rate(DEVICE, torch.bfloat16 if CUDA else torch.float32))
        pairs.append({name: seconds(loop, case.steps) for name, loop in loops.items()})
    ratios = [pair["plain"] / pair["prdit"] for pair in pairs]
    rate, flop = median(rates) / 1e9, loops["prdit"].flop / 1e9
    told = {"gflop_per_volume": flop, "gflop_per_s": rate, "ratios": ratios}
    for name, loop in loops.items():
        speed = case.steps * case.batch / median(pair[name] for pair in pairs)
        told[name] = {"volumes_per_second": speed, "share": flop * speed / rate}
        told[name] |= {"precision": loop.precision, "peak_gib": memory[name]}
    return told | {"ratio": median(ratios)}


def show(told: dict[str, Any]) -> None:
    print(HEAD.format(**told))
    for name in LOOPS:
        print(f"{name} ({told[name]['precision']}):", LINE.format(**told[name]))
    low, high = min(told["ratios"]), max(told["ratios"])
    print(f"ratio of prdit to plain {told['ratio']:.3f}; pairs {low:.3f} to {high:.3f}")


def main() -> None:
    parser = ArgumentParser(allow_abbrev=False, description=__doc__)
    parser.add_argument("--model", required=True, help="a PRDiT of the config")
    parser.add_argument("--config", type=Path, default=Path("config/paper.yaml"))
    parser.add_argument("--json", type=Path, help="file to write")
    for name, default in {**NUMBERS, "depth": None, "width": None, "heads": None}.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    case = parser.parse_args()
    entry = load_file(case.config).models[case.model].model_dump()
    entry |= {k: value for k, value in vars(case).items() if k in entry and value is not None}
    entry["training"] |= {"batch": case.batch, "volumes": LONG}
    case.entry = PRDiT(**entry)
    told = {name: vars(case)[name] for name in ("model", *NUMBERS)} | measure(case)
    told |= {"device": NAME, "torch": torch.__version__, "entry": entry}
    show(told)
    if case.json:
        write_json(case.json, told)


if __name__ == "__main__":
    main()
