"""The baselines: a training step and some sampling steps of each, at the paper's sizes."""

from __future__ import annotations

import torch

from prdit.config import Sampler
from prdit.machine.processes import Processes
from prdit.training.update import Updates

from .case import Case, clean, entry_of, generator_of, peak_gb, smooth
from .lines import Lines
from .loops import seconds
from .train_speed import unless_too_large

MODELS = (
    ("HA-GAN", 128),
    ("VQ-GAN", 128),
    ("3D-LDM", 128),
    ("WDM-3D", 128),
    ("HA-GAN", 256),
    ("3D-LDM-256", 256),
    ("WDM-3D-256", 256),
)
REHEARSED = (0, 1, 2, 3, 6)
"""Of these; on a CPU the others are the same once more."""
DRAWS_NOTHING = "VQ-GAN"
STEPS = 20


def run(case: Case, lines: Lines) -> None:
    for name, size in case.pick(MODELS, [MODELS[n] for n in REHEARSED]):
        told = f"{name}, {case.pick(size, size // 8)}^3"
        if case.left() < case.pick(20.0, 1.0):
            lines.skip(told, "no time was left")
            continue
        with lines.trying(told), unless_too_large(lines, told):
            one(case, lines, name, case.pick(size, size // 8), told)
        clean(case)


def one(case: Case, lines: Lines, name: str, size: int, told: str) -> None:
    entry = entry_of(case, name, **({"perceptual": None} if name == DRAWS_NOTHING else {}))
    generator = generator_of(case, name, size, entry)
    generator.optimizers()
    batch = case.pick(entry.training.batch, 2)
    updates = Updates(Processes(case.device), entry.training, batch)
    x0, index = smooth(batch, size).to(case.device), torch.arange(batch, device=case.device)
    updates.batch(x0, index, batch)
    found = generator.step(updates)
    spent = seconds(case, lambda: generator.step(updates)) / batch
    finite = bool(found["loss"].isfinite())
    lines.holds(f"{told}: trains", finite, f"{1e3 * spent:.3g} ms a volume", "a finite loss")
    if updates.micro_batch < batch:
        lines.info(f"{told}: volumes at a time", f"{updates.micro_batch} of {batch}")
    if name != DRAWS_NOTHING:
        generator.network.eval()
        steps = 1 if name == "HA-GAN" else case.pick(STEPS, 4)
        draw = generator.drawing(Sampler(kind="own", steps=steps, precision="tf32"))
        with torch.inference_mode():
            x = draw(index[:1], 0)
            spent = seconds(case, lambda: draw(index[:1], 0)) / steps
        held = tuple(x.shape) == (1, 1, *(size,) * 3) and bool(x.isfinite().all())
        lines.holds(f"{told}: draws", held, f"{1e3 * spent:.3g} ms a step", "finite volumes")
    lines.info(f"{told}: GB at most", peak_gb(case))
