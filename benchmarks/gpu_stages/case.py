"""What stages share: device, sizes, models, volumes, time."""

from __future__ import annotations

import gc
import shutil
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from prdit.config import Model, PRDiT, Sampler
from prdit.config.file import load_file
from prdit.data.store import FULL, Store
from prdit.generators.base import Generator, build
from prdit.machine.memory import peak_gib
from prdit.machine.rate import synchronise

ROOT = Path(__file__).resolve().parents[2]
PAPER = ROOT / "config" / "paper.yaml"
Value = TypeVar("Value")

TINY: dict[str, dict[str, Any]] = {
    "prdit": {"patch": 4, "stride": 2, "width": 24, "heads": 2},
    "prdit_refined": {"patch": 4, "stride": 2, "width": 24},
    "wdm_3d": {"base": 32, "multiples": [1, 2]},
    "ha_gan": {"width": 8, "latent": 8},
    "vq_gan": {"levels": 1, "hidden": 8, "codes": 16, "discriminator_width": 8},
    "ldm_3d": {"width": 8, "multiples": [1, 2]},
}
"""Settings of a rehearsal, by generator."""


@dataclass(frozen=True)
class Case:
    """Where a stage runs, and for how long."""

    device: torch.device
    out: Path
    golden: Path | None = None
    deadline: float = float("inf")
    """By time.monotonic()."""

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    def pick(self, full: Value, tiny: Value) -> Value:
        """The first on a GPU, the second in a rehearsal on a CPU."""
        return full if self.cuda else tiny

    def left(self) -> float:
        """Seconds in which something new may begin."""
        return self.deadline - time.monotonic()

    def fresh(self, name: str) -> Path:
        """An empty folder for files that nobody needs afterwards."""
        folder = self.out / "work" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


@cache
def paper() -> Any:
    return load_file(PAPER)


def entry_of(case: Case, name: str, **changes: Any) -> Model:
    """The paper's entry of a model; "name@rad" is the one of that data set. Tiny in a rehearsal."""
    name, _, dataset = name.partition("@")
    entry = paper().models[name]
    told = entry.model_dump(exclude_unset=True) | {"per_dataset": {}}
    if dataset:
        other = entry.per_dataset.get(dataset, {})
        told |= {k: v for k, v in other.items() if k != "training"}
    if not case.cuda:
        told |= TINY[entry.generator] | ({"perceptual": None} if "perceptual" in told else {})
        if told.get("depth"):
            told["depth"] = max(1, told["depth"] // 4)
    return type(entry).model_validate(told | changes)


def base_of(case: Case, name: str) -> Model | None:
    """The entry of the model of another kind that a model builds on."""
    base = paper().base(name.partition("@")[0])
    if base is None:
        return None
    return entry_of(case, next(n for n, entry in paper().models.items() if entry == base))


def generator_of(case: Case, name: str, size: int, entry: Model | None = None) -> Generator:
    """A model as it trains, on the device; its stage 1 or base is frozen as in the paper.

    A PRDiT's weights are random, all of them: fresh ones would say 0 whatever they are asked.
    """
    entry = entry or entry_of(case, name)
    made = build(entry, size, base_of(case, name))
    if isinstance(entry, PRDiT) and entry.start_from is not None:
        made.start_from(build(entry.model_copy(update={"depth": 0, "start_from": None}), size))
    if entry.generator in ("prdit", "prdit_refined"):
        randomise(made.network)
    made.network.to(case.device).train()
    return made


def randomise(network: nn.Module, seed: int = 0, std: float = 0.02) -> None:
    """Normal weights, all of them, the same on every machine."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(std * torch.randn(parameter.shape, generator=source))


def smooth(count: int, size: int, seed: int = 0) -> Tensor:
    """Volumes of blobs, float32 [count, 1, S, S, S] in [-1, 1], on the CPU."""
    source = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 1, 4, 4, 4, generator=source)
    shape = (size,) * 3
    return nn.functional.interpolate(coarse, shape, mode="trilinear", align_corners=True).tanh()


def store_of(volumes: Tensor) -> Store:
    """Volumes [N, 1, S, S, S] as a store, without files; the last eighth is held out."""
    quantised = (volumes[:, 0] * FULL).round().to(torch.int16).numpy()
    held_out = max(1, len(quantised) // 8)
    parts = ["train"] * (len(quantised) - held_out) + ["held-out"] * held_out
    names = [str(n) for n in range(len(quantised))]
    return Store(quantised, names, parts, (-1000.0, 400.0), False, 4.0, "", "")


def off(mine: Tensor, right: Tensor) -> float:
    """Root mean square of the difference over that of what is right; infinite if not finite."""
    mine, right = mine.detach().double().cpu(), right.detach().double().cpu()
    found = float((mine - right).norm() / right.norm().clamp(min=1e-30))
    return found if np.isfinite(found) else float("inf")


def sampler(case: Case, **told: Any) -> Sampler:
    """A sampler; float32 unless it says otherwise."""
    return Sampler(**{"precision": "float32", "steps": case.pick(20, 6), **told})


def product_rate(case: Case, dtype: torch.dtype, warm_s: float = 1.0) -> float:
    """FLOP per second of a product of square matrices of random numbers, once clocks have settled.

    Zeros or equal numbers would take less power, and so run at higher clocks.
    """
    n = case.pick(8192, 384)
    a, b = (torch.randn(n, n, device=case.device).to(dtype) for _ in range(2))
    seconds, until = [], time.perf_counter() + case.pick(warm_s, 0.05)
    while time.perf_counter() < until or len(seconds) < 10:
        started = time.perf_counter()
        for _ in range(10):
            torch.mm(a, b)
        synchronise(case.device)
        seconds.append((time.perf_counter() - started) / 10)
    return 2 * n**3 / float(np.median(seconds[-10:]))


def clean(case: Case) -> None:
    """Forget compiled code, and give back what is no longer used: peaks are of one model."""
    gc.collect()
    torch._dynamo.reset()
    if case.cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(case.device)


def peak_gb(case: Case) -> float:
    """GB at most since `clean`, on a CPU of the whole process."""
    return peak_gib(case.device) * 2**30 / 1e9
