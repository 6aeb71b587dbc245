"""A CUDA device that is not there: torch believes in it, tensors on it have no memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo import device_interface

SM = int(os.environ.get("PRDIT_GPU_DRY", "0"))
"""Compute capability, as 80 is 8.0."""
DEVICE = torch.device("cuda", 0)


@dataclass(frozen=True)
class Card:
    """What of a card decides how torch and Triton compile for it.

    Args:
        processors: streaming multiprocessors.
        shared_memory: bytes that a block may ask for.
        cache: bytes of L2.
    """

    processors: int
    shared_memory: int
    cache: int


CARDS = {
    80: Card(108, 166_912, 40 << 20),  # A100
    90: Card(132, 232_448, 50 << 20),  # H100, H200
    100: Card(148, 232_448, 126 << 20),  # B200
}


def properties() -> Any:
    """What `torch.cuda.get_device_properties` tells of the device."""
    card = CARDS[SM]
    return SimpleNamespace(
        name="a device that is not there",
        major=SM // 10,
        minor=SM % 10,
        multi_processor_count=card.processors,
        total_memory=80 << 30,
        warp_size=32,
        max_threads_per_block=1024,
        max_threads_per_multi_processor=2048,
        regs_per_multiprocessor=65536,
        shared_memory_per_block=49152,
        shared_memory_per_block_optin=card.shared_memory,
        shared_memory_per_multiprocessor=card.shared_memory + 1024,
        L2_cache_size=card.cache,
        gcnArchName="",
        uuid="0",
    )


class Stream:
    """Work is not done, so there is nothing to wait for."""

    cuda_stream = 0

    def wait_stream(self, *_: object) -> None:
        pass

    synchronize = wait_event = record_event = wait_stream


class Graph:
    """A CUDA graph that has recorded nothing; `captures` are entered meanwhile."""

    def replay(self) -> None:
        pass

    reset = replay


captures: list[Callable[[], contextlib.AbstractContextManager[object]]] = []
"""Make what is entered while a graph is recorded."""


@contextlib.contextmanager
def graph(_: Graph, *__: object, **___: object) -> Iterator[None]:
    """In place of `torch.cuda.graph`."""
    with contextlib.ExitStack() as stack:
        for one in captures:
            stack.enter_context(one())
        yield


class Guard:
    """In place of what makes a device the current one."""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *_: object) -> bool:
        return False


def install() -> None:
    """Make torch believe in the device, once and for this process."""
    torch._C._ensureCUDADeviceGuardSet()  # one that does nothing, as there is no device yet
    ctypes.CDLL(os.environ["LD_PRELOAD"]).claim(
        SM // 10, SM % 10, CARDS[SM].processors, CARDS[SM].shared_memory
    )
    share = SimpleNamespace(value=1.0)

    def limited(value: float, _: int) -> None:
        share.value = value

    here: dict[str, Any] = {
        "is_available": lambda: False,  # else torch would make real tensors here and there
        "is_initialized": lambda: False,
        "is_bf16_supported": lambda *_, **__: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda _: None,
        "get_device_properties": lambda _=None: properties(),
        "get_device_capability": lambda _=None: divmod(SM, 10),
        "get_device_name": lambda _=None: properties().name,
        "mem_get_info": lambda _=None: (70 << 30, 80 << 30),
        "memory_allocated": lambda _=None: 0,
        "max_memory_allocated": lambda _=None: 0,
        "synchronize": lambda _=None: None,
        "empty_cache": lambda: None,
        "_lazy_init": lambda: None,
        "Stream": Stream,
        "current_stream": lambda _=None: Stream(),
        "stream": lambda _: contextlib.nullcontext(),
        "CUDAGraph": Graph,
        "graph": graph,
        "device": Guard,
        "_DeviceGuard": Guard,
    }
    for name, value in here.items():
        setattr(torch.cuda, name, value)
    torch.cuda.memory._lazy_init = lambda: None
    torch._C._cuda_getMemoryFraction = lambda _: share.value
    torch._C._cuda_setMemoryFraction = limited
    torch._C._cuda_getCurrentRawStream = lambda _: 0
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    torch.nn.Module._apply = moved
    asked(device_interface.get_interface_for_device("cuda"))


def moved(module: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """In place of `Module._apply`: new parameters, since what is no memory cannot be swapped."""
    for child in module.children() if recurse else ():
        child._apply(change)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            value = change(parameter.detach())
            module._parameters[name] = nn.Parameter(value, parameter.requires_grad)
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = change(buffer)
    return module


def asked(interface: Any) -> None:
    """What the compiler asks of a device."""
    answers: dict[str, Callable[..., Any]] = {
        "is_available": lambda: True,
        "get_compute_capability": lambda _=None: SM,
        "get_device_properties": lambda _=None: properties(),
        "current_device": lambda: 0,
        "device_count": lambda: 1,
        "synchronize": lambda _=None: None,
        "get_raw_stream": lambda _: 0,
        "is_bf16_supported": lambda **_: True,
    }
    for name, value in answers.items():
        setattr(interface, name, staticmethod(value))
    interface.Worker.get_device_properties = staticmethod(lambda _=None: properties())
    interface.Worker.current_device = staticmethod(lambda: 0)
