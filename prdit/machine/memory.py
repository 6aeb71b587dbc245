"""Memory: what a run took, how to limit it, and which errors say that there is not enough."""

from __future__ import annotations

import gc
import re
import resource
from collections.abc import Iterator

import torch

from prdit.errors import OutOfMemory, UserError

GIB = 2**30
SIGNS = re.compile(
    r"out of memory|ALLOC(ATION)?_FAILED|(can't|cannot|failed to|CUDA) (alloc|calloc|malloc)"
    r"|not enough memory",
    re.IGNORECASE,
)
"""How torch, cuBLAS, cuDNN, NCCL, Triton and the driver say it, each in an error of its own kind.

Triton's "out of resource" is none: it speaks of a kernel that wants too much of a processor.
"""
DISGUISES = re.compile(
    r"unable to find an engine|valid cuDNN algorithm|(CUBLAS|CUDNN)_STATUS_NOT_INITIALIZED"
)
"""What cuDNN and cuBLAS say where memory is short, and at times for another reason."""
ASKED = re.compile(r"allocate ([\d.]+ [KMG]iB)|allocate memory: you tried to allocate (\d+) bytes")


def asked_for(error: BaseException) -> str | None:
    """What an out-of-memory error asked for, in words; None if it is another kind of error.

    Compilers wrap the error of the allocator in one of their own, so what an error was raised from
    is looked at, too.
    """
    if isinstance(error, OutOfMemory):
        return error.asked
    if isinstance(error, UserError):
        return None
    for one in wrapped(error):
        signs = SIGNS.search(str(one)) or DISGUISES.search(str(one))
        if signs or isinstance(one, torch.OutOfMemoryError | MemoryError):
            found = ASKED.search(str(one))
            if found is None:
                return str(one) if isinstance(one, MemoryError) and str(one) else "more than free"
            return found[1] or f"{int(found[2]) / 2**20:,.1f} MiB"
    return None


def wrapped(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it was raised from or wraps."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop(0)
        if one is not None and not any(one is other for other in seen):
            yield one
            seen.append(one)
            context = None if one.__suppress_context__ else one.__context__
            waiting += [getattr(one, "inner_exception", None), one.__cause__, context]


def limit(gib: float | None, device: torch.device) -> None:
    """Let this process allocate at most so many GiB more; None: whatever the machine has."""
    if gib is None:
        return
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, gib * GIB / total), device)
        return
    with open("/proc/self/statm", encoding="ascii") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    ceiling = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (taken + int(gib * GIB), ceiling))


def lift_limit(device: torch.device) -> None:
    """Undo `limit` on a CPU, for what has to be written once a model was too large.

    Libraries that cannot bear a lack of memory would end the process.
    """
    if device.type != "cuda":
        ceiling = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))


def release() -> None:
    """Give back what torch keeps of a GPU's memory, and what was compiled for it."""
    gc.collect()  # what is compiled refers to itself
    torch.cuda.empty_cache()
    torch._dynamo.reset()  # what was compiled for one size counts against the others


def free_bytes(device: torch.device) -> float:
    """What this process may still allocate on a GPU."""
    share = torch.cuda.get_per_process_memory_fraction(device)
    mine = share * torch.cuda.get_device_properties(device).total_memory
    free = torch.cuda.mem_get_info(device)[0]
    return min(free, mine - torch.cuda.memory_allocated(device))


def peak_gib(device: torch.device) -> float:
    """Most memory that this process held so far: the GPU's on a GPU, else resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
