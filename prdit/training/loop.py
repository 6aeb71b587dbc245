"""The training loop: it owns the data's order, lengths, learning rates, averages and states.

It knows no architecture; a generator does the update.
"""

from __future__ import annotations

import math
import time
from functools import lru_cache

import torch
from torch import Tensor

from prdit.config import Training
from prdit.diffusion.noise import permutation
from prdit.errors import Interrupted, UserError
from prdit.generators.base import Trainable
from prdit.machine.journal import Journal
from prdit.machine.processes import Processes
from prdit.machine.stop import Stop
from prdit.training.feed import Volumes
from prdit.training.state import State
from prdit.training.states import States
from prdit.training.update import Updates
from prdit.training.validation import validate

LINES = 50
"""Reports of a training, apart from its first few steps."""


def train(
    generator: Trainable,
    state: State,
    training: Training,
    *,
    feed: Volumes,
    held_out: Volumes,
    updates: Updates,
    journal: Journal,
    states: States,
    save_every: float,
    stop: Stop,
) -> None:
    """Take `state` from where it is to the training's end.

    Args:
        feed, held_out: volumes to train on, and volumes to look at now and then.
        journal: told the means of losses since it was told before.
        states: where the state is saved, every `save_every` seconds and at the end.
        stop: asked after every step; if it asks to, the state is saved and the training left.

    Raises:
        Interrupted: `stop` asked for it.
        UserError: losses stay not finite, or a state cannot be saved.
    """
    processes, steps = updates.processes, math.ceil(training.volumes / training.batch)
    tally, clock = Tally(), Clock(save_every, processes)
    generator.network.train()
    for step in range(state.volumes // training.batch, steps):
        set_rate(state, rate(step, steps, training))
        give(updates, feed, step, training)
        tally.add(generator.step(updates))
        state.average.update()
        done = step + 1
        state.volumes = done * training.batch
        asked, due = processes.any(stop.asked(), clock.due())
        if asked:
            stop.heeded()
        saves, tells = asked or due or done == steps, reported(done, steps)
        if saves or tells or done % training.max_skipped == 0:
            state.skipped += tally.check(training.max_skipped, state.volumes)
        if tells:
            seen = validate(generator, held_out, updates) if looked_at(done, steps) else {}
            means = {"step": done, **tally.means(), **seen}
            journal(state.volumes, {**means, "skipped_steps": state.skipped})
        if saves:
            state.seconds = journal.seconds
            if processes.first:
                states.save(state)
            processes.wait()
            clock.reset()
        if asked and done < steps:
            raise Interrupted(
                f"stopped by {stop.reason or 'a signal to another process'} at"
                f" {state.volumes:,} of {training.volumes:,} volumes; the state is saved, the same"
                " command goes on from it"
            )


def give(updates: Updates, feed: Volumes, step: int, training: Training) -> None:
    """Give `updates` this process's part of a step's batch; that of the next is read meanwhile."""
    here, following = (updates.processes.share(batch(s, training)) for s in (step, step + 1))
    chosen, upcoming = (order(i, len(feed), training.seed) for i in (here, following))
    numbers = here.to(feed.device, non_blocking=True)
    updates.batch(feed(chosen, upcoming), numbers, training.batch)


def batch(step: int, training: Training) -> Tensor:
    """Numbers of volumes seen before each volume of a step: int64 [B]."""
    return torch.arange(step * training.batch, (step + 1) * training.batch)


def set_rate(state: State, share: float) -> None:
    """Give every optimizer a share of the learning rate that it was made with."""
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = share * group.setdefault("initial_lr", group["lr"])


def rate(step: int, steps: int, training: Training) -> float:
    """Share of the learning rate at a step: linear warm-up, then constant or a half cosine."""
    if step < training.warmup_steps:
        return (step + 1) / training.warmup_steps
    if training.decay == "none":
        return 1.0
    return 0.5 + 0.5 * math.cos(math.pi * step / steps)


def order(index: Tensor, n: int, seed: int) -> Tensor:
    """Which of n volumes is seen as number `index` [B]: each once per epoch, shuffled anew."""
    return torch.stack([shuffled(seed, int(i) // n, n)[int(i) % n] for i in index])


@lru_cache(maxsize=4)
def shuffled(seed: int, epoch: int, n: int) -> Tensor:
    """The order of n volumes in an epoch."""
    return permutation(seed, "order", epoch, n)


def looked_at(step: int, steps: int) -> bool:
    """Whether held-out volumes are looked at after a step: about 10 times."""
    return step % (5 * max(1, steps // LINES)) == 0 or step == steps


def reported(step: int, steps: int) -> bool:
    """Whether step number 1, 2, ... is reported: 1, 2, 4, 8, then about 50 times."""
    return step in (1, 2, 4, 8) or step % max(1, steps // LINES) == 0 or step == steps


class Clock:
    """Whether it is time to save, by the clock of the first process."""

    def __init__(self, every: float, processes: Processes) -> None:
        self.every, self.first = every, processes.first
        self.reset()

    def due(self) -> bool:
        return self.first and time.monotonic() - self.last >= self.every

    def reset(self) -> None:
        self.last = time.monotonic()


class Tally:
    """Sums of losses, kept on the device: nobody waits for a step to end but to report it."""

    def __init__(self) -> None:
        self.sums: Tensor | None = None

    def add(self, losses: dict[str, Tensor]) -> None:
        """Count one step; where a loss is not finite, as skipped."""
        if not isinstance(losses, dict) or "loss" not in losses:
            raise UserError('a step of a generator must give what to report, "loss" among it')
        values = torch.stack([value.float() for value in losses.values()])
        finite = values.isfinite().all()
        if self.sums is None:
            self.names, self.sums = list(losses), torch.zeros_like(values)
            self.counted, self.skipped, self.in_a_row, self.longest = values.new_zeros(4).unbind()
        self.sums = self.sums + torch.where(finite, values, 0)
        self.counted = self.counted + finite
        self.skipped = self.skipped + ~finite
        self.in_a_row = torch.where(finite, 0, self.in_a_row + 1)
        self.longest = torch.maximum(self.longest, self.in_a_row)

    def check(self, most: int, volumes: int) -> int:
        """Steps skipped since the last check; raises UserError if `most` came in a row."""
        skipped, longest = torch.stack([self.skipped, self.longest]).tolist()
        if longest >= most:
            raise UserError(
                f"the training diverged: {most} steps in a row up to volume {volumes} had losses or"
                " gradients that are not finite; lower learning_rate or clip, or add warmup_steps"
            )
        self.skipped = torch.zeros_like(self.skipped)
        self.longest = self.in_a_row
        return int(skipped)

    def means(self) -> dict[str, float]:
        """Mean of each loss over the finite steps since the last call."""
        assert self.sums is not None
        *sums, counted = torch.cat([self.sums, self.counted.reshape(1)]).tolist()
        self.sums, self.counted = torch.zeros_like(self.sums), torch.zeros_like(self.counted)
        if not counted:
            return {}
        return {name: value / counted for name, value in zip(self.names, sums, strict=True)}
