"""A training step and a sampling step on the device, taken as a run takes them, and counted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from gpu_dry import compiling, device
from gpu_dry.device import DEVICE
from gpu_dry.watching import Watch
from prdit.config import Sampler, Training
from prdit.generators.base import Generator, Trainable
from prdit.machine.processes import Processes
from prdit.training.loop import Tally
from prdit.training.state import State
from prdit.training.update import Updates


@dataclass
class Taken:
    """What one step did.

    Args:
        count: volumes at a time.
        launches: kernels, of a micro-batch and, in training, the update of weights.
        gigabytes: that they read and write per volume, products, attention and convolutions apart.
        held: GB of weights, and in training gradients' moments and averages.
        peak: GB at most, of a micro-batch; volumes that wait for their turn are not among it.
        faults: transfers and waits, with their numbers.
        compiled: launches of kernels that Triton compiled.
    """

    count: int
    launches: int
    gigabytes: float
    held: float
    peak: float
    faults: dict[str, int]
    compiled: int

    def bounds(self) -> dict[str, float]:
        """What is recorded, in three digits."""
        told = asdict(self)
        found = {name: float(f"{told[name]:.3g}") for name in ("gigabytes", "held", "peak")}
        return {"count": self.count, "launches": self.launches, **found}


def volumes(count: int, channels: int, size: int) -> tuple[Tensor, Tensor]:
    """Volumes [B, C, S, S, S] and their numbers [B] on the device; they have no values."""
    x0 = torch.empty(count, channels, size, size, size, device=DEVICE)
    return x0, torch.empty(count, dtype=torch.int64, device=DEVICE)


def training(
    made: Trainable,
    told: Training,
    size: int,
    count: int,
    *,
    channels: int = 1,
) -> Taken:
    """A step on a micro-batch of `count` volumes: the second, which finds all compiled."""
    torch._dynamo.reset()
    watch = Watch()
    with watch:
        made.network.to(DEVICE)
        made.network.train()
        state, tally = State(made, told), Tally()
        made.compile()
        updates = Updates(Processes(DEVICE), told, count)
        for _ in range(2):
            updates.batch(*volumes(count, channels, size), count)
            for optimizer in state.optimizers:
                optimizer.zero_grad()
            held = watch.now
            watch.start()
            tally.add(made.step(updates))
            state.average.update()
        found = taken(watch, held, count)
        validated(made, updates, *volumes(count, channels, size))
    return found


def validated(made: Trainable, updates: Updates, x0: Tensor, index: Tensor) -> None:
    """Losses on held-out volumes, as a training looks at them now and then: on the device."""
    made.network.eval()
    with torch.no_grad(), updates.precision():
        losses = made.validation(x0, index)
    assert all(value.device == DEVICE for value in losses.values())


def sampling(made: Generator, sampler: Sampler, count: int) -> Taken:
    """The step that a GPU records, of `count` volumes at a time."""
    torch._dynamo.reset()
    watch = Watch()
    found: list[Taken] = []

    @contextlib.contextmanager
    def captured() -> Iterator[None]:
        held = watch.now
        watch.start()
        yield
        found.append(taken(watch, held, count))

    with watch:
        made.network.to(DEVICE)
        made.network.eval()
        index = torch.arange(count).to(DEVICE)
        device.captures.append(captured)
        try:
            draw = made.drawing(sampler)
            x, written = draw(index, 0), len(compiling.sources)
            fewer = draw(index[1:], 1)
        finally:
            device.captures.remove(captured)
    assert x.dtype == fewer.dtype == torch.float32
    assert x.device == fewer.device == DEVICE
    assert found, "no step was recorded as a CUDA graph"
    assert len(found) == 1, "fewer volumes, or another seed, are recorded anew"
    assert len(compiling.sources) == written, "fewer volumes, or another seed, are compiled anew"
    return found[0]


def drawn(made: Generator, sampler: Sampler, count: int) -> Taken:
    """All steps of a sampler that records none."""

    def draw(_: nn.Module) -> Tensor:
        x = made.drawing(sampler)(torch.arange(count).to(DEVICE), 0)
        assert x.dtype == torch.float32
        assert x.device == DEVICE
        return x

    return passed(made.network, draw, count)[0]


def passed(
    network: nn.Module, call: Callable[[nn.Module], Tensor], count: int
) -> tuple[Taken, Tensor]:
    """What a call of a network on so many volumes does, and what it gives."""
    watch = Watch()
    with watch:
        network.to(DEVICE)
        network.eval()
        held = watch.now
        watch.start()
        with torch.inference_mode():
            found = call(network)
    return taken(watch, held, count), found


def taken(watch: Watch, held: int, count: int) -> Taken:
    """What was counted since `watch` started."""

    return Taken(
        count=count,
        launches=sum(watch.launches.values()),
        gigabytes=watch.gigabytes / count,
        held=held / 1e9,
        peak=watch.peak / 1e9,
        faults=dict(watch.faults),
        compiled=watch.compiled,
    )
