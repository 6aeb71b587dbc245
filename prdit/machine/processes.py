"""The processes that share one training, as torchrun starts them: one per GPU."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from prdit.errors import OutOfMemory, UserError
from prdit.machine.device import chosen_device, reserved_gpu, uses_gpu

PR_SET_PDEATHSIG = 1
Value = TypeVar("Value")


@dataclass(frozen=True)
class Processes:
    """This process among `count`; alone by default."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def say(self, sentence: str) -> None:
        """Tell a person, once however many processes there are."""
        if self.first:
            print(sentence, file=sys.stderr, flush=True)

    def share(self, batch: Tensor) -> Tensor:
        """This process's part of a batch, which is shared out in order."""
        return batch.tensor_split(self.count)[self.rank]

    def sum_(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in one exchange.

        torch's DistributedDataParallel would tie gradients to the forward of one module; a
        generator may have several, with an optimizer each. What it would win, exchanging while
        still computing, is 0.2 GB beside a second of computation.
        """
        if self.count == 1:
            return
        flat = torch.cat([t.flatten() for t in tensors])
        dist.all_reduce(flat)
        for tensor, total in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def any(self, *asked: bool) -> list[bool]:
        """For each question, whether any process says yes. Waits for no GPU."""
        if self.count == 1:
            return list(asked)
        votes = torch.tensor(asked, dtype=torch.int32)
        dist.all_reduce(votes, op=dist.ReduceOp.MAX)
        return [bool(vote) for vote in votes]

    def together(self, compute: Callable[[], Value]) -> Value:
        """What `compute` gives; if one process lacks memory for it, none goes on.

        Raises:
            OutOfMemory: the model does not fit on the device of some process.
            UserError: it may fit, but some process cannot go on.
        """
        short: OutOfMemory | UserError | None = None
        try:
            found = compute()
        except (OutOfMemory, UserError) as error:
            short = error
        too_large, refused = self.any(isinstance(short, OutOfMemory), isinstance(short, UserError))
        if refused:  # which is no result, whatever the others say
            raise short if isinstance(short, UserError) else UserError("another process refused")
        if too_large:
            raise short or OutOfMemory("more than another process has")
        return found

    def agree(self, number: int) -> None:
        """Raise UserError unless every process has the same number of volumes seen."""
        if self.count > 1:
            ends = torch.tensor([number, -number])
            dist.all_reduce(ends, op=dist.ReduceOp.MAX)
            if ends[0] != -ends[1]:
                raise UserError("processes found different states; run the same command again")

    def wait(self) -> None:
        """Go on once every process has come here."""
        self.any(False)


def join(count: int) -> Processes:
    """This process among `count` that run the present command.

    The first call replaces the process by torchrun, which starts the same command `count` times
    and ends all of them once one fails.
    """
    if count == 1:
        return Processes(chosen_device())
    cuda = uses_gpu()
    if cuda and count > torch.cuda.device_count():
        raise UserError(f"{count} processes need a GPU each; there are {torch.cuda.device_count()}")
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # else torchrun warns; --threads decides
        os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
        torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        words = [sys.executable, "-m", *torchrun, "--module", "prdit", *sys.argv[1:]]
        os.execv(sys.executable, words)
    rank = int(os.environ["LOCAL_RANK"])
    with suppress(OSError, AttributeError):  # Linux: end with torchrun, even if it is killed
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    device = chosen_device()
    if cuda and reserved_gpu() is None:  # two of them on one would wait for each other for ever
        raise UserError(
            f"{count} processes need a GPU each, and other jobs hold some of those here"
        )
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    if cuda:  # NCCL takes its memory now, while there is some: torch gives none back to it
        dist.all_reduce(torch.zeros(1, device=device))
    return Processes(device, rank, count)
