"""Whether a lack of memory says that a model is too large, which is a result, or something else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from prdit.errors import OutOfMemory, UserError
from prdit.machine.compiled import gave_up
from prdit.machine.device import reserved_gpu
from prdit.machine.memory import DISGUISES, GIB, asked_for, wrapped

OVERHEAD = 1.5 * GIB
"""That the driver and libraries may take of a GPU for this process, beside torch's tensors."""
FULL = 0.9
"""Share of a GPU's memory that is taken where libraries mean memory by what they say."""


def too_large(error: Exception, device: torch.device) -> Exception:
    """What to raise in place of an error that tells of a lack of memory even for one volume.

    Returns:
        OutOfMemory, which is a result: nobody else holds memory of the device, nothing else is the
        reason. UserError: there is another one. The error itself: it means no memory at all.
    """
    asked = asked_for(error) or "more than free"
    if device.type != "cuda":
        return OutOfMemory(asked)
    if on_host(error):
        return UserError(
            f"out of memory of the machine, not of its GPU ({asked}); ask for more (mem_mb), and"
            " run this again"
        )
    others = held_by_others(device)
    if others or reserved_gpu() is None:
        whose = f"of which others hold {others / GIB:.1f} GiB" if others else "that others share"
        return UserError(
            f"out of memory ({asked}) on a GPU {whose}, which says nothing of the model; wait for"
            " them or choose another GPU, and run this again"
        )
    if gave_up():
        return UserError(
            f"out of memory ({asked}) without compiled code, which takes less; mend what keeps this"
            " node from compiling (`python -m prdit doctor`), and run this again"
        )
    if any(DISGUISES.search(str(one)) for one in wrapped(error)) and not is_full(device):
        return error
    return OutOfMemory(asked)


@contextmanager
def that_counts(device: torch.device) -> Iterator[None]:
    """Around what a model needs whatever the batch: its weights, averages and moments.

    Raises:
        OutOfMemory, UserError: see `too_large`.
    """
    try:
        yield
    except Exception as error:
        if asked_for(error) is None or isinstance(error, OutOfMemory):
            raise
        raise too_large(error, device) from None


def on_host(error: Exception) -> bool:
    """Whether it is the machine's own memory that an error tells of."""
    chain = list(wrapped(error))
    return not any(isinstance(one, torch.OutOfMemoryError) for one in chain) and any(
        isinstance(one, MemoryError | OSError) or "DefaultCPUAllocator" in str(one) for one in chain
    )


def held_by_others(device: torch.device) -> float:
    """Bytes of a GPU's memory that other processes hold, if that is why this one lacks memory."""
    free, total = torch.cuda.mem_get_info(device)
    if free >= room(device):
        return 0.0  # it is the limit of this process that was met
    return max(0.0, total - free - torch.cuda.memory_reserved(device) - OVERHEAD)


def room(device: torch.device) -> float:
    """Bytes of a GPU that the limit of this process still lets it take."""
    total = torch.cuda.mem_get_info(device)[1]
    share = torch.cuda.get_per_process_memory_fraction(device)
    return share * total - torch.cuda.memory_reserved(device)


def is_full(device: torch.device) -> bool:
    """Whether next to nothing is left of a GPU, or of the limit of this process."""
    free, total = torch.cuda.mem_get_info(device)
    return min(free, room(device)) < (1 - FULL) * total
