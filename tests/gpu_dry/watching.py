"""What a device would do: kernels and bytes, peak memory, transfers, waits of the host."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gpu_dry import compiling

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "item")
"""Operations whose result, or its shape, the host has to wait for."""
NOTHING = (
    *("detach", "alias", "lift_fresh", "_unsafe_view", "broadcast_tensors"),
    *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
)
"""Operations that launch nothing, besides views."""
BLOCK = 512
"""Bytes that torch rounds an allocation up to."""


class Watch(TorchDispatchMode):
    """Counts what happens on the device while it is entered."""

    @classmethod
    def is_infra_mode(cls) -> bool:
        """Whether torch.compile may go on as if it were not there."""
        return True

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[int, int] = {}
        self.now = self.peak = 0
        self.start()

    def start(self) -> None:
        """Count from here on; what is held, is held."""
        self.launches, self.bytes = Counter[str](), Counter[str]()
        self.faults = Counter[str]()
        self.compiled = 0
        self.peak = self.now

    @property
    def gigabytes(self) -> float:
        """Read and written by all kernels but matrix products, attention and convolutions."""
        return sum(n for name, n in self.bytes.items() if not is_product(name)) / 1e9

    def __enter__(self) -> Any:
        compiling.launched.append(self.compiled_kernel)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        compiling.launched.remove(self.compiled_kernel)
        super().__exit__(*error)

    def compiled_kernel(self, name: str, count: float) -> None:
        """Count a kernel that Triton compiled."""
        self.compiled += 1
        self.launched(name, count)

    def launched(self, name: str, count: float) -> None:
        """Count a kernel."""
        self.launches[name] += 1
        self.bytes[name] += round(count)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        got = [t for t in tree_leaves(made) if isinstance(t, Tensor)]
        self.look(func, given, got)
        return made

    def look(self, func: Any, given: list[Tensor], got: list[Tensor]) -> None:
        """Count an operation's kernel, faults and memory."""
        name = func._overloadpacket.__name__
        kinds = {t.device.type for t in given + got}
        if name in WAITS and "cuda" in kinds:
            self.faults[f"the host waits for {name}"] += 1
        if len(kinds) > 1 and name in ("_to_copy", "copy_"):
            source = given[-1] if name == "copy_" else given[0]
            way = f"{source.device.type} to {got[0].device.type}"
            self.faults[f"{tuple(source.shape)} goes from {way}"] += 1
        elif len(kinds) > 1 and any(t.dim() for t in given if t.device.type == "cpu"):
            self.faults[f"{name} of tensors on several devices"] += 1
        of_device = [t for t in got if t.device.type == "cuda"]
        if of_device and not func.is_view and name not in NOTHING:
            read = [t for t in given if t.device.type == "cuda"]
            self.launched(name, sum(map(size, read)) + sum(map(size, of_device)))
        for tensor in of_device:
            self.hold(tensor)

    def hold(self, tensor: Tensor) -> None:
        """Follow the memory of a tensor until it is let go."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.held:
            self.held[key] = -(-storage.nbytes() // BLOCK) * BLOCK
            self.now += self.held[key]
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.let_go, key)

    def let_go(self, key: int) -> None:
        """A storage is gone."""
        self.now -= self.held.pop(key, 0)


def size(tensor: Tensor) -> int:
    """Bytes of what a tensor shows."""
    return tensor.numel() * tensor.element_size()


def is_product(name: str) -> bool:
    """Whether what a kernel reads and writes is the least of what it does."""
    return name in ("mm", "addmm", "bmm", "baddbmm", "linear") or any(
        part in name for part in ("attention", "convolution")
    )
