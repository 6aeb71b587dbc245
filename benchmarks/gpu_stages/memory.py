"""Too little memory: fewer volumes at a time, a result where one does not fit, never a mistake.

On a GPU memory is really limited; on a CPU an allocator is made up that refuses, but for the check
of a whole training.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prdit.generators.draw import Source
from prdit.machine import compiled
from prdit.recipes import SampleRecipe

from .case import Case, clean, entry_of, generator_of, off, sampler, smooth
from .lines import Lines
from .loops import Ours
from .sample_speed import drawing, drawn_from
from .trainings import lay_out, said, start

MODEL = "PRDiT-4L"
SAME_LOSS, SAME_VOLUMES = 1e-3, 5e-2
HOLD = """
import sys, time, torch
free, total = torch.cuda.mem_get_info()
kept = torch.empty(int(free - float(sys.argv[1])), dtype=torch.uint8, device="cuda")
print("held", flush=True)
time.sleep(300)
"""


def run(case: Case, lines: Lines) -> None:
    for check in (halving, while_compiling, nothing_fits, of_samples, foreign):
        if case.left() < case.pick(30.0, 1.0):
            lines.skip(check.__name__.replace("_", " "), "no time was left")
            continue
        with lines.trying(check.__name__.replace("_", " ")):
            check(case, lines)
        unlimited(case)
        clean(case)


def unlimited(case: Case) -> None:
    if case.cuda:
        torch.cuda.set_per_process_memory_fraction(1.0, case.device)


def loop_of(case: Case, micro_batch: int) -> Ours:
    """PRDiT-4L in batches of 16, compiled."""
    size = case.pick(128, 8)
    generator = generator_of(case, MODEL, size)
    training = entry_of(case, MODEL).training.model_copy(update={"batch": 16})
    loop = Ours(case, generator, training, micro_batch, smooth(4, size).repeat(5, 1, 1, 1, 1))
    generator.compile()
    return loop


def measured(case: Case, micro_batch: int) -> tuple[list[float], int]:
    """Losses of two steps with as much memory as there is, and bytes that torch reserved."""
    clean(case)
    losses = loop_of(case, micro_batch).bare(2)
    return losses, torch.cuda.max_memory_reserved(case.device) if case.cuda else 0


def halving(case: Case, lines: Lines) -> None:
    """Between what 4 and 8 volumes at a time take, 16 become 4, and losses stay."""
    right, small = measured(case, 4)
    if case.cuda:
        _, large = measured(case, 8)
        clean(case)
        total = torch.cuda.get_device_properties(case.device).total_memory
        share = (small + large) / 2 / total
        torch.cuda.set_per_process_memory_fraction(share, case.device)
        lines.info(
            "limit, GB; 4 volumes take, 8 take",
            f"{share * total / 1e9:.3g}; {small / 1e9:.3g}, {large / 1e9:.3g}",
        )
    loop = loop_of(case, 16)
    if not case.cuda:
        refuse(loop, 4)
    found = loop.bare(2)
    lines.at_most(f"volumes at a time, of 16{made_up(case)}", loop.updates.micro_batch, 8)
    worst = max(abs(a - b) / b for a, b in zip(found, right, strict=True))
    lines.at_most("losses with less memory = with all of it", worst, SAME_LOSS)


def made_up(case: Case) -> str:
    return "" if case.cuda else " (a made-up allocator)"


def refuse(loop: Ours, most: int) -> None:
    """Let losses of more volumes fail as an allocation would."""
    usual = loop.generator.losses

    def losses(x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        if len(x0) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return usual(x0, index)

    loop.generator.losses = losses


def while_compiling(case: Case, lines: Lines) -> None:
    """A compiler that lacks memory wraps the error in one of its own; nothing falls back to eager.

    The compiler is made up on a GPU, too: it traces, and refuses more than 4 volumes.
    """
    right, _ = measured(case, 4)
    clean(case)
    with refusing_compiler(4):
        loop = loop_of(case, 16)
        found = loop.bare(2)
    lines.at_most("volumes at a time, if compiling lacks memory", loop.updates.micro_batch, 4)
    worst = max(abs(a - b) / b for a, b in zip(found, right, strict=True))
    lines.at_most("losses after that", worst, case.pick(1e-2, SAME_LOSS))
    value = "eager" if compiled.gave_up() else "compiled"
    lines.holds("and is compiled nevertheless", not compiled.gave_up(), value, "compiled")


@contextmanager
def refusing_compiler(most: int) -> Iterator[None]:
    def backend(module: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        volumes = [t for t in inputs if isinstance(t, Tensor) and t.dim() == 5]
        if any(len(t) > most for t in volumes):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return module.forward

    usual, compiled.BACKEND = compiled.BACKEND, backend
    try:
        yield
    finally:
        compiled.BACKEND = usual


def capped(case: Case) -> tuple[Path, dict[str, Any]]:
    """A store, and a training that lacks memory for one volume."""
    size, gib = case.pick((128, 1.0), (96, 0.3))
    array = lay_out(case.fresh("memory"), smooth(8, size))
    settings = {"volumes": 64, "batch": 4, "learning_rate": 1e-4, "memory_gib": gib}
    changes = {"depth": 4, "start_from": None, "local": False} if case.cuda else {}
    name = MODEL if case.cuda else "PRDiT-local"
    entry = entry_of(case, name, training=settings, **changes)
    return array, {"entry": entry, "size": size, "batch": 4}


def nothing_fits(case: Case, lines: Lines) -> None:
    """A limit below what one volume takes is a result: out of memory."""
    array, about = capped(case)
    folder = case.fresh("memory/capped")
    status = start(folder, array, **about).wait(150)
    record = folder / "run.json"
    found = json.loads(record.read_text())["status"] if record.exists() else said(folder)
    lines.holds("a training that cannot fit", status == 0 and found == "oom", found, "oom")


def of_samples(case: Case, lines: Lines) -> None:
    """Drawing goes from 16 volumes at a time to as many as fit; they stay the same."""
    generator, steps = drawn_from(case, MODEL, case.pick(128, 8)), 4
    clean(case)
    draw = drawing(case, generator, steps)
    right = draw(torch.arange(1, device=case.device), 0).cpu()
    taken = torch.cuda.max_memory_reserved(case.device) if case.cuda else 0
    del draw
    clean(case)
    limited = drawing(case, generator, steps)
    if case.cuda:
        total = torch.cuda.get_device_properties(case.device).total_memory
        torch.cuda.set_per_process_memory_fraction(1.3 * taken / total, case.device)
    else:
        limited = refusing(limited)
    sampler_ = sampler(case, k=2, steps=steps)
    recipe = SampleRecipe(sampler=sampler_, seed=0, first=0, count=16)
    source = Source(recipe, Path("none"), case.device, 16)
    source.loaded = limited, {"size": generator.size}  # in place of a file of weights
    some, found = source.fitting(range(16))
    lines.at_most(f"drawn at a time, of 16{made_up(case)}", len(some), 8)
    value = off(torch.from_numpy(found[:1]), right[0])
    lines.at_most("volume 0 with less memory = with all of it", value, SAME_VOLUMES)


def refusing(draw: Callable[[Tensor, int], Tensor]) -> Callable[[Tensor, int], Tensor]:
    def drawn(index: Tensor, seed: int) -> Tensor:
        if len(index) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return draw(index, seed)

    return drawn


def foreign(case: Case, lines: Lines) -> None:
    """Memory that another process holds makes an error that says so, and no result."""
    told = "a training on a GPU that another process fills"
    if not case.cuda:
        lines.skip(told, "needs a GPU")
        return
    clean(case)
    words = [sys.executable, "-c", HOLD, str(1.6e9)]
    other = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        other.stdout.readline()
        array, about = capped(case)
        training = about["entry"].training.model_copy(update={"memory_gib": None})
        about["entry"] = about["entry"].model_copy(update={"training": training})
        folder = case.fresh("memory/foreign")
        status = start(folder, array, **about).wait(150)
    finally:
        other.kill()
        other.wait()
    held = status == 2 and not (folder / "run.json").exists()
    lines.holds(told, held, f"status {status}: {said(folder)}", "an error, no result")
