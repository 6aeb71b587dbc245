"""Training loops that are timed: the package's, and those that one writes without it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress

import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from prdit.config import Training
from prdit.errors import Interrupted
from prdit.generators.base import Generator
from prdit.generators.precision import precision
from prdit.machine.processes import Processes
from prdit.machine.rate import synchronise
from prdit.machine.stop import Stop
from prdit.training.feed import Feed
from prdit.training.loop import Tally, give, train
from prdit.training.state import State
from prdit.training.update import Updates

from .case import Case, store_of

LONG = 10**9
"""Volumes of a training that is never reported on."""


class Ours(Stop):
    """The package's loop; this is what stops it, and its journal and saved states: none.

    Args:
        volumes: to train on, [N, 1, S, S, S].
    """

    seconds = 0.0

    def __init__(
        self,
        case: Case,
        generator: Generator,
        training: Training,
        micro_batch: int,
        volumes: Tensor,
    ) -> None:
        super().__init__()
        self.generator = generator
        self.training = training.model_copy(update={"volumes": LONG})
        self.feed = Feed(store_of(volumes), "train", case.device)
        self.state = State(generator, self.training)
        self.state.volumes = 10 * self.training.batch  # the first steps are reported
        self.updates = Updates(Processes(case.device), self.training, micro_batch)

    def run(self, steps: int) -> None:
        """Steps as a training takes them."""
        self.left = steps
        precision(self.training.precision, self.feed.device)  # a loop beside it may have set TF32
        data = {"feed": self.feed, "held_out": self.feed, "save_every": math.inf}
        told = {"updates": self.updates, "journal": self, "states": self, "stop": self}
        with suppress(Interrupted):
            train(self.generator, self.state, self.training, **data, **told)

    def asked(self) -> bool:
        self.left -= 1
        return self.left == 0

    def save(self, state: State) -> None: ...

    def bare(self, steps: int) -> list[float]:
        """The same steps without what is done now and then; the loss of each."""
        seen = []
        for _ in range(steps):
            self.fetch()
            seen.append(self.take(Tally()))
        return [float(loss) for loss in seen]

    def fetch(self) -> None:
        """The volumes of the next step."""
        give(self.updates, self.feed, self.state.volumes // self.training.batch, self.training)

    def take(self, tally: Tally) -> Tensor:
        """A step with them, without waiting for the device; its loss."""
        told = self.generator.step(self.updates)
        tally.add(told)
        self.state.average.update()
        self.state.volumes += self.training.batch
        return told["loss"]


PLAIN_WAYS = ("TF32 eager", "bf16 autocast", "bf16 torch.compile", "released-like float32")
"""Loops that one writes without the package; the last as the released code does."""


class Plain:
    """Noise by torch.randn, AdamW and averages by torch's defaults, the loss read at each step."""

    def __init__(
        self,
        case: Case,
        generator: Generator,
        training: Training,
        micro_batch: int,
        volumes: Tensor,
        *,
        way: str,
    ) -> None:
        self.case, self.training, self.micro_batch, self.way = case, training, micro_batch, way
        self.process, self.volumes = generator.process, volumes.to(case.device)
        network = generator.network
        self.network = torch.compile(network) if "compile" in way else network
        self.weights = [p for p in network.parameters() if p.requires_grad]
        self.averages = [p.detach().clone() for p in self.weights]
        released = way.startswith("released")
        self.optimizer = AdamW(
            self.weights, training.learning_rate, weight_decay=0.0, foreach=not released
        )
        self.follow = self.one_by_one if released else self.at_once

    def run(self, steps: int) -> None:
        torch.set_float32_matmul_precision("high" if "TF32" in self.way else "highest")
        for _ in range(steps):
            self.step()

    def step(self) -> float:
        chosen = torch.randint(
            len(self.volumes), (self.training.batch,), device=self.volumes.device
        )
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.volumes.device)
        for x0 in self.volumes[chosen].split(self.micro_batch):
            with autocast(self.case, self.way):
                loss = self.loss(x0) * len(x0) / self.training.batch
            loss.backward()
            total += loss.detach()
        clip_grad_norm_(self.weights, self.training.clip)
        self.optimizer.step()
        self.follow()
        return total.item()

    def loss(self, x0: Tensor) -> Tensor:
        """Eq. 3 and 4 for x0 [B, 1, S, S, S]."""
        steps = self.process.timesteps
        t = torch.randint(1, steps + 1, (len(x0),), device=x0.device)
        angle = (math.pi / 2 / steps * t).view(-1, 1, 1, 1, 1)
        eps = self.process.noise_std * torch.randn_like(x0)
        noise, signal = self.network(angle.cos() * x0 + angle.sin() * eps, t)
        return mse_loss(noise, eps) + mse_loss(signal, x0)

    def at_once(self) -> None:
        torch._foreach_lerp_(self.averages, [p.data for p in self.weights], 1 - self.training.ema)

    def one_by_one(self) -> None:
        for average, weight in zip(self.averages, self.weights, strict=True):
            average.mul_(self.training.ema).add_(weight.data, alpha=1 - self.training.ema)


def autocast(case: Case, way: str) -> AbstractContextManager[object]:
    """What a plain way computes in."""
    if way.startswith("bf16"):
        return torch.autocast(case.device.type, torch.bfloat16)
    return nullcontext()


def seconds(case: Case, call: Callable[[], object]) -> float:
    """Of a call, until the device has done it; it is idle before."""
    synchronise(case.device)
    started = time.perf_counter()
    call()
    synchronise(case.device)
    return time.perf_counter() - started
