"""A real training in a minute or two: stage 1, then PRDiT-4L, on phantoms of 64^3; then volumes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prdit.config import Model
from prdit.config.file import load_file
from prdit.data.store import open_store
from prdit.generators import weights as weights_file
from prdit.generators.base import build
from prdit.metrics.frechet import frechet_distance
from prdit.recipes import TrainRecipe
from prdit.training import run as training

from .case import ROOT, Case, sampler
from .lines import Lines
from .loops import seconds
from .phantoms import chests, picture, write_png
from .trainings import lay_out, told

CONFIG = ROOT / "config" / "small-gpu.yaml"
SETTINGS = {"learning_rate": 1e-3, "warmup_steps": 50, "decay": "cosine", "batch": 16}
STAGES = {"PRDiT-local": (12_000, 0.99), "PRDiT-4L": (24_000, 0.995)}
"""Volumes seen, and decay of the average, by model."""
TINY = {
    "entry": {"patch": 4, "stride": 2, "width": 24, "heads": 2},
    "training": {"learning_rate": 4e-3, "warmup_steps": 10, "batch": 4},
    "volumes": 480,
}
BETTER, BETTER_TINY = 5.0, 2.0
"""How many times smaller the held-out loss is than an untrained model's, at least."""
DRAWN, SEED = 8, 3


def run(case: Case, lines: Lines) -> None:
    size, count = case.pick((64, 256), (16, 32))
    workers = case.pick(min(16, os.cpu_count() or 1), 1)
    volumes, how = chests(count, size, SEED, workers)
    lines.info("trained on", f"{count} {how}, {size}^3")
    array = lay_out(case.fresh("small"), volumes, 256.0 / size)
    first: Path | None = None
    for name in STAGES:
        folder, entry = case.fresh(f"small/{name}"), entry_of(case, name)
        spent = seconds(case, lambda f=folder, e=entry, w=first: train(case, f, array, e, size, w))
        lines.info(f"{name}: s of {entry.training.volumes:,} volumes", spent)
        first = folder / "weights.safetensors"
        better(case, lines, name, folder, untrained(case, array, entry, size))
    draws(case, lines, first, volumes)


def entry_of(case: Case, name: str) -> Model:
    """A model of the config for one GPU, trained a part of its time."""
    found = load_file(CONFIG).models[name]
    volumes, ema = STAGES[name]
    told: dict[str, Any] = found.model_dump(exclude_unset=True)
    told["training"] = {**SETTINGS, "volumes": volumes, "ema": ema}
    if not case.cuda:
        told |= TINY["entry"] | ({"depth": 1} if told["depth"] else {})
        told["training"] |= {**TINY["training"], "volumes": TINY["volumes"], "ema": 0.95}
    return type(found).model_validate(told)


def train(
    case: Case, folder: Path, array: Path, entry: Model, size: int, start_from: Path | None
) -> None:
    """As the workflow does, in this process."""
    threads = case.pick(os.cpu_count() or 1, 1)
    recipe = TrainRecipe(model=entry, size=size)
    training.run(recipe, **told(folder, array, start_from=start_from, threads=threads))


@torch.no_grad()
def untrained(case: Case, array: Path, entry: Model, size: int) -> float:
    """Loss on held-out volumes of a fresh Local Denoiser, which says 0."""
    generator = build(entry.model_copy(update={"depth": 0, "start_from": None}), size)
    generator.network.to(case.device)
    store = open_store(array)
    rows = [n for n, part in enumerate(store.parts) if part == "held-out"]
    x0 = torch.from_numpy(np.stack([store.volume(n) for n in rows])).unsqueeze(1)
    index = torch.arange(len(rows), device=case.device)
    return float(generator.validation(x0.to(case.device), index)["loss"])


def better(case: Case, lines: Lines, name: str, folder: Path, before: float) -> None:
    log = (folder / "training.jsonl").read_text().splitlines()
    last = json.loads(log[-1])
    after, bound = last["validation_loss"], case.pick(BETTER, BETTER_TINY)
    what, told = (
        f"{name}: held-out loss, times smaller than untrained",
        f"{before:.3g} to {after:.3g}",
    )
    if name == "PRDiT-4L":
        lines.at_least(what, before / after, bound, f" ({told})")
    else:
        lines.info(what, f"{before / after:.3g} ({told})")
    lines.info(
        f"{name}: utilisation, memory GiB", f"{last['utilisation']:.2%}, {last['memory_gib']:.3g}"
    )


def draws(case: Case, lines: Lines, weights: Path, real: Tensor) -> None:
    """Volumes of the model are nearer to real ones than noise is; and all are in a picture."""
    generator, _ = weights_file.load(weights, str(case.device))
    draw = generator.drawing(sampler(case, k=2, steps=case.pick(200, 30), precision="bfloat16"))
    index = torch.arange(DRAWN, device=case.device)
    made = draw(index, 0).cpu()
    spent = seconds(case, lambda: draw(index, 0)) / DRAWN
    lines.info(f"s a volume of {case.pick(200, 30)} steps, {DRAWN} at a time", spent)
    lines.holds("volumes are finite", bool(made.isfinite().all()), "finite", "finite")
    features, name = features_of(case)
    stream = torch.Generator().manual_seed(SEED)
    noise = torch.randn(made.shape, generator=stream).clamp(-1, 1)
    right = features(real)
    fid, of_noise = (frechet_distance(right, features(x.clamp(-1, 1))) for x in (made, noise))
    told = f"{fid:.4g}, {of_noise:.4g} ({name})"
    lines.holds("FID of volumes, of noise", fid < of_noise, told, "the first is less")
    path = case.out / "volumes.png"
    write_png(path, picture([real[:DRAWN], made], case.pick(2, 4)))
    lines.info("picture: phantoms, then volumes of PRDiT-4L", path.name)


def features_of(case: Case) -> tuple[Callable[[Tensor], np.ndarray], str]:
    """What takes features [N, d] of volumes: the package's ResNet-10, or what is made here."""
    if case.cuda and find_spec("monai") is not None:
        from prdit.metrics.features import extract, randomise, resnet_3d

        network = resnet_3d("resnet10")
        randomise(network, 0)
        network.to(case.device)
        return lambda x: np.stack(list(extract(network, x[:, 0].numpy(), 8))), "a random ResNet-10"
    network = small_network().to(case.device)

    def taken(x: Tensor) -> np.ndarray:
        with torch.inference_mode():
            parts = [network(some.to(case.device)) for some in x.split(8)]
        return torch.cat(parts).cpu().double().numpy()

    return taken, "a random network of three convolutions: MONAI's is not here or not needed"


def small_network() -> nn.Module:
    """[B, 1, S, S, S] -> [B, 64], the same on every machine."""
    layers: list[nn.Module] = []
    stream = torch.Generator().manual_seed(0)
    for before, after in ((1, 16), (16, 32), (32, 64)):
        layer = nn.Conv3d(before, after, 3, stride=2, padding=1)
        nn.init.kaiming_normal_(layer.weight, generator=stream)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten()).eval()
