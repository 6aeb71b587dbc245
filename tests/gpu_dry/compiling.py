"""Compiled code of a device that is not there: made to the last step, then counted, not run.

Inductor writes Triton kernels and the Python that calls them; Triton compiles each kernel to a
cubin, by ptxas. What is left out is loading cubins and launching them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch._inductor.config as inductor
import triton
from torch._inductor.codegen.triton import TritonKernel
from torch._inductor.graph import GraphLowering
from torch._inductor.runtime import triton_helpers
from torch._inductor.runtime.triton_heuristics import CachingAutotuner
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver

from gpu_dry.device import CARDS, DEVICE, SM

launched: list[Callable[[str, float], None]] = []
"""Told the name of each Triton kernel that would be launched, and the bytes it reads and writes."""
sources: list[str] = []
"""The code that Inductor wrote, newest last."""
cubins: list[bytes] = []
"""What Triton made of it, or had made before."""


class Utils:
    """What Triton's driver knows of a device."""

    @staticmethod
    def get_device_properties(_: int) -> dict[str, int]:
        card = CARDS[SM]
        return {
            "max_shared_mem": card.shared_memory,
            "multiprocessor_count": card.processors,
            "sm_clock_rate": 1_410_000,
            "mem_clock_rate": 1_593_000,
            "mem_bus_width": 5120,
        }


class Driver:
    """Triton's driver of the device: a target to compile for."""

    utils = Utils

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", SM, 32)

    def get_active_torch_device(self) -> torch.device:
        return DEVICE

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, _: int = 0) -> int:
        return 0

    def get_benchmarker(self) -> Callable[..., float]:
        return lambda *_, **__: 0.0

    def is_active(self) -> bool:
        return True


def run(kernel: CachingAutotuner, *arguments: object, stream: int, **_: object) -> None:
    """In place of a launch, of what was compiled now or before in this process."""
    assert stream == 0
    assert kernel.compile_results, "not compiled"
    count = kernel.inductor_meta.get("kernel_num_gb")
    if count is None:
        tensors = [a for a in arguments if isinstance(a, torch.Tensor)]
        count = sum(t.numel() * t.element_size() for t in tensors) / 1e9
    for told in launched:
        told(kernel.fn.__name__, count * 1e9)


def install() -> None:
    """Let Inductor and Triton compile for the device, once and for this process."""
    driver.set_active(Driver())
    triton_helpers.set_driver_to_gpu = lambda: None
    inductor.compile_threads = 1
    inductor.joint_graph_constant_folding = False  # computes constants on the device
    inductor.shape_padding = False  # times products on the device
    CachingAutotuner._make_launchers = lambda _: None
    CachingAutotuner._dynamic_scale_rblock = lambda _: None
    CachingAutotuner.run = run

    compile_, written = triton.compile, GraphLowering.codegen
    of_kernel = TritonKernel.inductor_meta_per_kernel

    def compiled(*arguments: Any, **options: Any) -> Any:
        made = compile_(*arguments, **options)
        cubins.append(made.asm["cubin"])
        return made

    def codegen(graph: GraphLowering) -> Any:
        made = written(graph)
        sources.append(made[0].value)
        return made

    def with_bytes(kernel: TritonKernel) -> dict[str, Any]:
        return {
            **of_kernel(kernel),
            "kernel_num_gb": kernel.estimate_kernel_num_bytes() / 1e9,
        }

    triton.compile, GraphLowering.codegen = compiled, codegen
    TritonKernel.inductor_meta_per_kernel = with_bytes

    guards = torch._C._dynamo.guards  # C++ that allocates, or looks into memory

    def empty(size: Any, stride: Any, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty_strided(size, stride, dtype=dtype, device=DEVICE)

    def seen(base: torch.Tensor, size: Any, stride: Any, offset: int = 0) -> torch.Tensor:
        return torch.as_strided(base, size, stride, offset + base.storage_offset())

    guards._empty_strided_cuda, guards._reinterpret_tensor = empty, seen
    guards.assert_size_stride = guards.assert_alignment = lambda *_: None
