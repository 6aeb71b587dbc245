"""One update of weights, as a generator's step asks for it: any batch, any number of processes."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from prdit.config import Training
from prdit.errors import UserError
from prdit.generators.base import Losses
from prdit.generators.precision import precision
from prdit.machine.compiled import gives_up
from prdit.machine.memory import asked_for, release
from prdit.machine.processes import Processes
from prdit.machine.too_large import that_counts, too_large


class Updates:
    """Minimises losses over a batch: in micro-batches, over processes, clipped, if finite.

    Args:
        processes: over which the batch is shared out.
        micro_batch: volumes at a time on a device; halved whenever memory does not suffice.
    """

    def __init__(self, processes: Processes, training: Training, micro_batch: int) -> None:
        self.processes, self.clip, self.micro_batch = processes, training.clip, micro_batch
        self.precision = precision(training.precision, processes.device)
        self.validation_batch = micro_batch
        """The same of held-out volumes, which are looked at without gradients."""
        self.stepped: list[Optimizer] = []
        """Those that have come to the end of a step, so that one volume does fit for theirs."""

    def batch(self, x0: Tensor, index: Tensor, total: int) -> None:
        """What the next updates are about.

        Args:
            x0: [b, 1, S, S, S], this process's share of a batch.
            index: [b] numbers of volumes seen before each.
            total: B, the size of the batch over all processes.
        """
        self.x0, self.index, self.total = x0, index, total

    def __call__(self, optimizer: Optimizer, losses: Losses) -> dict[str, Tensor]:
        """One step of an optimizer on the mean loss of the batch.

        A step whose loss or gradient is not finite changes no weight; no one waits to learn it.

        Returns:
            Losses over the whole batch, and "gradient", its norm before clipping; detached.

        Raises:
            OutOfMemory: even a single volume does not fit, though nobody else holds memory.
            UserError: it does not fit because of others.
        """
        changed = [p for group in optimizer.param_groups for p in group["params"]]
        found = self.processes.together(lambda: self._gradients(optimizer, losses))
        gradients = [p.grad for p in changed if p.grad is not None]
        self.processes.sum_([*gradients, *found.values()])
        found["gradient"] = clip_grad_norm_(changed, self.clip, foreach=True)
        finite = (found["gradient"] + found["loss"]).isfinite()
        if optimizer in self.stepped:
            apply(optimizer, finite)
        else:  # its moments are made, which may not fit
            self.processes.together(lambda: self._first(optimizer, finite))
            self.stepped.append(optimizer)
        return found

    def _first(self, optimizer: Optimizer, finite: Tensor) -> None:
        with that_counts(self.processes.device):
            apply(optimizer, finite)

    def _gradients(self, optimizer: Optimizer, losses: Losses) -> dict[str, Tensor]:
        while True:
            optimizer.zero_grad()
            try:
                return self._accumulate(losses)
            except Exception as error:
                if asked_for(error) is None:
                    if not gives_up(error):
                        raise
                    continue
                if min(self.micro_batch, len(self.x0)) == 1:
                    raise self._too_large(error, optimizer) from None
            # Out here the failed attempt's memory is free again.
            self.micro_batch = min(self.micro_batch, len(self.x0)) // 2
            release()

    def _too_large(self, error: Exception, optimizer: Optimizer) -> Exception:
        if optimizer in self.stepped:
            return UserError(
                f"out of memory ({asked_for(error)}) in a step, though steps before it fitted:"
                " something else takes memory; run the same command again"
            )
        return too_large(error, self.processes.device)

    def _accumulate(self, losses: Losses) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for x0, index in self._micro_batches():
            share = len(x0) / self.total
            with self.precision():
                parts = losses(x0, index)
            if "loss" not in parts or parts["loss"].dim():
                raise UserError(
                    'losses of a generator must give "loss", the mean over its volumes: one number'
                )
            (parts["loss"] * share).backward()
            for name, value in parts.items():
                value = value.detach().float() * share
                found[name] = found[name] + value if name in found else value
        return found

    def _micro_batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """As even as can be, so that a GPU compiles for few sizes."""
        count = math.ceil(len(self.x0) / self.micro_batch)
        x0s, indices = (some.tensor_split(count) for some in (self.x0, self.index))
        yield from zip(x0s, indices, strict=True)


def apply(optimizer: Optimizer, finite: Tensor) -> None:
    """Take a step if `finite`, without waiting for the device where the optimizer can look itself.

    Fused optimizers can: it is what torch's GradScaler tells them.
    """
    if getattr(optimizer, "_step_supports_amp_scaling", False):
        optimizer.grad_scale = None  # type: ignore[attr-defined]
        optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        optimizer.step()
    elif finite:
        optimizer.step()
