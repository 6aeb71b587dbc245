"""What a device spends its time with, by class of kernel."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from prdit.machine.rate import synchronise

from .case import Case

CLASSES = (
    ("attention", r"flash|fmha|sdpa|attention"),
    ("matrix products", r"gemm|cutlass|nvjet|xmma|cublas|\b(add)?b?mm\b|linear"),
    ("convolutions", r"conv|cudnn"),
    ("compiled", r"^triton"),
    ("optimizer and average", r"multi_tensor|adam|foreach"),
    ("copies", r"memcpy|memset|copy"),
)
"""By name of kernel, the first that fits; all others are "other"."""


def milliseconds(case: Case, call: Callable[[], object]) -> dict[str, float]:
    """Of a call, by name of kernel; on a CPU, of torch's operation."""
    kinds = [ProfilerActivity.CUDA, ProfilerActivity.CPU] if case.cuda else [ProfilerActivity.CPU]
    synchronise(case.device)
    with profile(activities=kinds) as seen:
        call()
        synchronise(case.device)
    found = {}
    for event in seen.key_averages():
        if case.cuda and event.device_type == DeviceType.CUDA:
            found[event.key] = event.self_device_time_total / 1e3
        elif not case.cuda:
            found[event.key] = event.self_cpu_time_total / 1e3
    return found


def classes(found: dict[str, float]) -> str:
    """Shares of the time by class, the largest first."""
    sums: dict[str, float] = {}
    for name, spent in found.items():
        kind = next((k for k, sign in CLASSES if re.search(sign, name.lower())), "other")
        sums[kind] = sums.get(kind, 0.0) + spent
    whole = sum(sums.values()) or 1.0
    order = sorted(sums, key=lambda kind: -sums[kind])
    return ", ".join(f"{kind} {sums[kind] / whole:.0%}" for kind in order)


def compiled_share(found: dict[str, float]) -> float:
    """Share of the time that kernels take which Inductor wrote."""
    whole = sum(found.values()) or 1.0
    return sum(t for name, t in found.items() if name.startswith("triton")) / whole
