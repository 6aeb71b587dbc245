"""How precisely losses and samples are computed on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

Precision = Callable[[], AbstractContextManager[object]]


def precision(name: str, device: torch.device) -> Precision:
    """Context to compute in; weights, moments and averages are float32 in any case.

    TF32 is no context: a call turns it on or off for the whole process, until the next call.

    Args:
        name: "bfloat16" (mixed, A.9.2), "tf32" or "float32"; a CPU computes in float32 always.
    """
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    if name != "bfloat16" or device.type != "cuda":
        return nullcontext
    return lambda: torch.autocast("cuda", torch.bfloat16)
