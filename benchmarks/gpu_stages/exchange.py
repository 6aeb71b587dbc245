"""A training through a process group of one, as torchrun starts it: `exchange DEVICE JSON`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from prdit.machine.processes import Processes
from prdit.training.update import Updates

from .case import Case, entry_of, generator_of, off, smooth
from .loops import Ours


class OneAsTwo(Processes):
    """One process that exchanges as several do, and has the whole batch."""

    def share(self, batch: Tensor) -> Tensor:
        return batch


def losses(case: Case, processes: Processes) -> list[float]:
    size = case.pick(64, 8)
    generator = generator_of(case, "PRDiT-4L", size)
    training = entry_of(case, "PRDiT-4L").training
    training = training.model_copy(update={"batch": 4, "precision": "float32"})
    loop = Ours(case, generator, training, 4, smooth(8, size))
    loop.updates = Updates(processes, loop.training, 4)
    return loop.bare(5)


def main() -> None:
    device, out = torch.device(sys.argv[1]), Path(sys.argv[2])
    case = Case(device, out.parent)
    if case.cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if case.cuda else "gloo")
    group = OneAsTwo(device, 0, 2)
    right, found = losses(case, Processes(device)), losses(case, group)
    before = [torch.randn(5, 7, device=device), torch.randn(3, device=device)]
    after = [tensor.clone() for tensor in before]
    group.sum_(after)
    worst = max(abs(a - b) / b for a, b in zip(found, right, strict=True))
    told = {"losses": worst, "sums": max(map(off, after, before))}
    told["nccl"] = str(torch.cuda.nccl.version()) if case.cuda else "none"
    out.write_text(json.dumps(told))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
