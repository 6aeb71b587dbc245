"""Training: ms a volume, share of the rate of products, memory, and loops without the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import torch
from torch import Tensor

from prdit.generators.precision import precision
from prdit.machine.device import device_name
from prdit.machine.memory import asked_for
from prdit.machine.rate import flop_per_volume

from .case import Case, clean, entry_of, generator_of, peak_gb, product_rate, smooth
from .kernels import classes, milliseconds
from .lines import Lines
from .loops import PLAIN_WAYS, Ours, Plain, seconds
from .predictions import TRAINING, beside

SHARE, RATIO = 0.55, 1.0
"""Of the rate of products, at least; of the best plain loop's time to ours, at least."""
MODELS = (
    ("PRDiT-4L", 128, 16),
    ("PRDiT-local", 128, 16),
    ("PRDiT-4L-up", 256, 8),
    ("PRDiT-12L", 128, 16),
    ("PRDiT-8L", 128, 16),
    ("PRDiT-12L@rad", 128, 16),
    ("PRDiT-4L-up-fine-tuned", 256, 8),
    ("PRDiT-4L@rad", 128, 16),
    ("PRDiT-4L", 128, 32),
    ("PRDiT-4L", 128, 8),
    ("PRDiT-local", 128, 32),
    ("PRDiT-4L-up", 256, 16),
)
"""Model, edge, micro-batch: what is worth most first."""
NEEDED_S = 40.0
"""For a model and shape, compiling included; less than that is left unbegun."""


REHEARSED = (0, 1, 2, 6)
"""Of these, a model of each kind."""


def run(case: Case, lines: Lines) -> None:
    shapes = case.pick(MODELS, [(MODELS[n][0], MODELS[n][1] // 16, 2) for n in REHEARSED])
    for number, (name, size, micro_batch) in enumerate(shapes):
        told = f"{name}, {size}^3, micro-batch {micro_batch}"
        if case.left() < case.pick(NEEDED_S, 1.0):
            lines.skip(told, "no time was left")
            continue
        with lines.trying(told), unless_too_large(lines, told):
            alone(case, lines, name, size, micro_batch, told)
        clean(case)
        if number == 0:
            with lines.trying("plain loops"):
                beside_plain(case, lines, name, size, micro_batch)
            clean(case)


@contextmanager
def unless_too_large(lines: Lines, told: str) -> Iterator[None]:
    """A lack of memory is no failure, but something to know."""
    try:
        yield
    except Exception as error:
        asked = asked_for(error)
        if asked is None:
            raise
        lines.info(told, f"out of memory: {asked}")


def volumes(count: int, size: int) -> Tensor:
    """So many volumes; of few different ones, which are made quickly."""
    return smooth(4, size).repeat(count // 4 + 1, 1, 1, 1, 1)[:count]


def alone(case: Case, lines: Lines, name: str, size: int, micro_batch: int, told: str) -> None:
    """Two micro-batches a step, as the package's loop takes them."""
    rate = product_rate(case, torch.bfloat16, 0.5)
    generator = generator_of(case, name, size)
    training = entry_of(case, name).training.model_copy(update={"batch": 2 * micro_batch})
    loop = Ours(case, generator, training, micro_batch, volumes(3 * micro_batch, size))
    index = torch.zeros(1, dtype=torch.int64)
    with precision(training.precision, case.device)():
        flop = flop_per_volume(generator.step, loop.feed(index), index.to(case.device))
    generator.compile()
    clean_peak(case)
    first = seconds(case, lambda: loop.run(2))
    steps, blocks = case.pick((5, 3), (1, 2))
    spent = median(seconds(case, lambda: loop.run(steps)) for _ in range(blocks))
    each = spent / steps / training.batch
    if loop.updates.micro_batch < micro_batch:
        told += f" (halved to {loop.updates.micro_batch}, memory)"
    card = device_name(case.device)
    lines.info(f"{told}: ms a volume", f"{1e3 * each:.3g}{beside(TRAINING.get(name), card)}")
    bounded(case, lines, f"{told}: share of {rate / 1e12:.3g} TFLOP/s", flop / each / rate, SHARE)
    lines.info(f"{told}: GB at most, GFLOP a volume", f"{peak_gb(case):.3g}, {flop / 1e9:.4g}")
    lines.info(f"{told}: s of the first two steps", first)
    if name == "PRDiT-4L":
        lines.info(f"{told}: kernels", classes(milliseconds(case, lambda: loop.run(1))))


def clean_peak(case: Case) -> None:
    if case.cuda:
        torch.cuda.reset_peak_memory_stats(case.device)


def bounded(case: Case, lines: Lines, name: str, value: float, bound: float) -> None:
    """A line with a bound on a GPU; speeds of tiny sizes have none."""
    if case.cuda:
        lines.at_least(name, value, bound)
    else:
        lines.info(f"{name} (tiny: no bound)", value)


def beside_plain(case: Case, lines: Lines, name: str, size: int, micro_batch: int) -> None:
    """The package's loop and plain ones on the same model, in turn, so that clocks are the same."""
    training = entry_of(case, name).training.model_copy(update={"batch": 2 * micro_batch})
    data = volumes(3 * micro_batch, size)
    mine = generator_of(case, name, size)
    loops = {"prdit": Ours(case, mine, training, micro_batch, data)}
    mine.compile()
    for way in PLAIN_WAYS:
        other = generator_of(case, name, size)
        loops[way] = Plain(case, other, training, micro_batch, data, way=way)
    for way, loop in list(loops.items()):
        try:
            loop.run(2)
        except Exception as error:  # noqa: BLE001
            lines.info(f"{name}, {way}", f"cannot run: {type(error).__name__}")
            del loops[way]
    steps, rounds = case.pick((3, 5), (1, 2))
    taken = []
    for turn in range(rounds):
        order = list(loops.items())[:: 1 if turn % 2 else -1]
        taken.append({w: seconds(case, lambda loop=loop: loop.run(steps)) for w, loop in order})
    ratios = {}
    for way in loops:
        each = median(one[way] for one in taken) / steps / training.batch
        ratios[way] = median(one[way] / one["prdit"] for one in taken)
        lines.info(
            f"{name}, {way}: ms a volume, times ours", f"{1e3 * each:.3g}, {ratios[way]:.3g}"
        )
    best = min(value for way, value in ratios.items() if way in PLAIN_WAYS[:3])
    bounded(case, lines, f"{name}: best plain loop takes, times ours", best, RATIO)
