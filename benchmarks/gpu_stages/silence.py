"""A step of training, and one of sampling, waits for nothing and compiles nothing anew.

On a CPU the nearest thing is asked: that no tensor's value is read, which would wait on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from prdit.machine.compiled import gave_up
from prdit.training.loop import Tally

from .case import Case, clean, entry_of, generator_of, sampler, smooth
from .kernels import classes, compiled_share, milliseconds
from .lines import Lines
from .loops import Ours
from .parity_sampler import repeating

STEPS = 20
READS = ("_local_scalar_dense", "nonzero", "is_nonzero")
LEAST_COMPILED = 0.01
"""Share of a step's time in kernels that Inductor wrote, below which it was not compiled."""


def run(case: Case, lines: Lines) -> None:
    for name, size, batch in (
        ("PRDiT-4L", case.pick(64, 8), 8),
        ("PRDiT-4L-up", case.pick(128, 16), 2),
    ):
        with lines.trying(f"training of {name}"):
            training(case, lines, name, size, batch)
        clean(case)
    with lines.trying("sampling"):
        sampling(case, lines)


def training(case: Case, lines: Lines, name: str, size: int, batch: int) -> None:
    generator = generator_of(case, name, size)
    settings = entry_of(case, name).training.model_copy(update={"batch": batch})
    loop = Ours(case, generator, settings, batch // 2, smooth(2 * batch, size))
    tally = Tally()

    def step() -> None:
        loop.fetch()
        loop.take(tally)

    if not case.cuda:  # what watches on a CPU cannot look into compiled code
        loop.fetch()
        with silent(case):
            loop.take(tally)
        lines.holds(f"{name}: a step reads no value (a CPU waits for nothing)", True, "none", "0")
    generator.compile()
    loop.bare(3)
    watching = silent(case) if case.cuda else nullcontext()
    with torch._dynamo.config.patch(error_on_recompile=True), watching:
        for _ in range(STEPS):
            step()
    waits = "nor waited" if case.cuda else "(waits: see above)"
    lines.holds(f"{name}: {STEPS} training steps", True, f"none recompiled {waits}", "none")
    compiled(case, lines, f"{name}, training", step)


def sampling(case: Case, lines: Lines) -> None:
    generator = generator_of(case, "PRDiT-4L", case.pick(64, 8))
    generator.network.eval().requires_grad_(False)
    told = {"steps": STEPS, "precision": "bfloat16"}
    drawing = repeating(generator, sampler=sampler(case, k=2, **told))
    index = torch.arange(4, device=case.device)
    drawing(index, 0)
    with torch._dynamo.config.patch(error_on_recompile=True), silent(case):
        for seed in (0, 1):
            drawing(index, seed)
            drawing(index[:3], seed)
    held = f"4 draws of {STEPS} steps, two seeds, two sizes of batches"
    lines.holds(f"sampling: {held}", True, "no wait, nothing recompiled", "none")
    if case.cuda:  # a CPU compiles no step
        compiled(case, lines, "sampling", lambda: drawing(index, 0))


def compiled(case: Case, lines: Lines, what: str, call: Callable[[], object]) -> None:
    """That compiled code really runs: a failure to compile is a warning, and eager from then on."""
    value = "eager" if gave_up() else "none"
    lines.holds(f"{what}: no failure to compile", not gave_up(), value, "none")
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    lines.at_least(f"{what}: graphs traced", graphs, 1)
    if not case.cuda:
        lines.skip(f"{what}: time in compiled kernels", "a rehearsal traces and compiles nothing")
        return
    found = milliseconds(case, call)
    lines.at_least(f"{what}: time in compiled kernels", compiled_share(found), LEAST_COMPILED)
    lines.info(f"{what}: kernels", classes(found))


@contextmanager
def silent(case: Case) -> Iterator[None]:
    """An error wherever the CPU would wait for the device."""
    if not case.cuda:
        with Reads():
            yield
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


class Reads(TorchDispatchMode):
    """Refuses what reads a tensor's value."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in READS:
            raise RuntimeError(f"{name} reads a value; on a GPU the CPU would wait for it")
        return func(*args, **(kwargs or {}))
