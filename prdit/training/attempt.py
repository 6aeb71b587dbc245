"""One attempt at a training: from wherever the ones before it got to, to the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from prdit.config import Training
from prdit.data.store import Store
from prdit.errors import OutOfMemory
from prdit.generators import weights as weights_file
from prdit.generators.base import Generator, Trainable, build
from prdit.generators.precision import precision
from prdit.machine import memory
from prdit.machine.journal import Journal
from prdit.machine.processes import Processes
from prdit.machine.rate import flop_per_volume, matrix_rate
from prdit.machine.stop import Stop
from prdit.machine.too_large import that_counts
from prdit.recipes import TrainRecipe
from prdit.training.feed import Feed, Volumes
from prdit.training.loop import train
from prdit.training.state import State
from prdit.training.states import LOG, States
from prdit.training.update import Updates

Value = TypeVar("Value")


@dataclass(frozen=True)
class Conditions:
    """How a training is run; beyond float rounding its result does not depend on it."""

    group: Processes
    micro_batch: int
    stop: Stop
    save_every: float


def trained(
    recipe: TrainRecipe, store: Store, start_from: Path | None, states: States, how: Conditions
) -> tuple[Generator, State]:
    """A generator and its state at the end of a training, from wherever `states` has got to.

    Raises:
        Interrupted: it was stopped before its end, and saved.
        OutOfMemory: the model does not fit, even with one volume at a time.
        UserError: what it starts from does not fit, or losses stay not finite.
    """
    peak = product_rate(how.group.device)  # before the limit, which is the model's alone
    memory.limit(recipe.model.training.memory_gib, how.group.device)

    def attempt(resident: bool | None) -> tuple[Generator, State]:
        generator = starting_point(recipe, start_from, how.group)
        feed, held_out = (
            Feed(store, part, how.group.device, resident=resident) for part in ("train", "held-out")
        )
        training = recipe.model.training
        return generator, to_its_end(generator, training, feed, held_out, states, how, peak)

    try:
        return attempt(None)
    except OutOfMemory as error:
        how.group.say(f"{error}; trying once more, with all memory for the model")
    # A result needs a second failure: volumes may have been in the model's way, or another job.
    memory.release()
    return attempt(False)


def to_its_end(
    generator: Trainable,
    training: Training,
    feed: Volumes,
    held_out: Volumes,
    states: States,
    how: Conditions,
    peak: float,
) -> State:
    """The state at the end of a training of `generator`, whose network lies on the device.

    Args:
        peak: FLOP per second of matrix products alone.
    """
    group = how.group
    state = fitting(group, lambda: State(generator, training))
    with precision(training.precision, group.device)():
        flop = count_flop(generator, feed)
    if group.first:
        states.open()
    states.resume(state)
    group.agree(state.volumes)
    journal = Journal(
        states.folder / LOG,
        group,
        volumes=state.volumes,
        seconds=state.seconds,
        total=training.volumes,
        flop=flop,
        peak=peak,
    )
    if group.device.type == "cuda":
        generator.compile()
    train(
        generator,
        state,
        training,
        feed=feed,
        held_out=held_out,
        updates=Updates(group, training, how.micro_batch),
        journal=journal,
        states=states,
        save_every=how.save_every,
        stop=how.stop,
    )
    return state


def starting_point(recipe: TrainRecipe, start_from: Path | None, group: Processes) -> Generator:
    """The generator before its first step, on this process's device."""
    generator = build(recipe.model, recipe.size, recipe.base)
    if start_from is not None:
        raw = getattr(recipe.model, "start_weights", "ema") == "raw"
        generator.start_from(weights_file.load(start_from, raw=raw)[0])
    fitting(group, lambda: generator.network.to(group.device))
    return generator


def fitting(group: Processes, make: Callable[[], Value]) -> Value:
    """What a model needs whatever the batch: weights, averages.

    Raises:
        OutOfMemory, UserError: it does not fit; see `too_large`.
    """

    def made() -> Value:
        with that_counts(group.device):
            return make()

    return group.together(made)


def product_rate(device: torch.device) -> float:
    """FLOP per second of matrix products in the type that a training computes in."""
    cuda = device.type == "cuda"
    found = matrix_rate(device, torch.bfloat16 if cuda else torch.float32)
    if cuda:
        torch.cuda.empty_cache()
    return found


def count_flop(generator: Trainable, feed: Volumes) -> float | None:
    """FLOP of a training step per volume, counted on the first volume.

    None if memory does not suffice to count: nothing is compiled yet, which takes more of it.
    """
    first = torch.zeros(1, dtype=torch.int64)
    before = [(buffer, buffer.clone()) for buffer in generator.network.buffers()]
    try:
        return flop_per_volume(generator.step, feed(first), first.to(feed.device))
    except Exception as error:
        if memory.asked_for(error) is None:
            raise
    finally:
        for buffer, value in before:  # a step may change what is no parameter
            buffer.copy_(value)
    generator.network.zero_grad()
    memory.release()
    return None
