"""Memory: what a run took, how to limit it, and which errors say that there is not enough."""

from __future__ import annotations

import re
import resource

import torch

from prdit.errors import OutOfMemory

GIB = 2**30
CUDA_SIGNS = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""How libraries on a GPU, and memory pinned for it, say it otherwise."""


def asked_for(error: BaseException) -> str | None:
    """What an out-of-memory error asked for, in words; None if it is another kind of error.

    CUDA has a class of its own; on a CPU, torch raises a RuntimeError that only its text tells.
    """
    if isinstance(error, OutOfMemory):
        return error.asked
    if isinstance(error, torch.OutOfMemoryError):
        found = re.search(r"Tried to allocate ([\d.]+ [KMG]iB)", str(error))
        return found[1] if found else "more than the GPU has"
    if isinstance(error, RuntimeError) and any(sign in str(error) for sign in CUDA_SIGNS):
        return "more than the GPU has"
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):
        found = re.search(r"you tried to allocate (\d+) bytes", str(error))
        return f"{int(found[1]) / 2**20:,.1f} MiB" if found else "more than there is"
    return (str(error) or "more than there is") if isinstance(error, MemoryError) else None


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
