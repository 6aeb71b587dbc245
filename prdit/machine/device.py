"""Which device a run computes on."""

from __future__ import annotations

import os
import platform

import torch

from prdit.errors import UserError

ASKED, CPU = "CUDA_VISIBLE_DEVICES", "PRDIT_CPU"
"""What a scheduler sets for a job with GPUs; what a person sets to compute on the CPU anyway."""


def chosen_device() -> torch.device:
    """The GPU, or the CPU where there is none.

    Raises:
        UserError: a job was given GPUs and torch sees none: a CPU would take days for nothing.
    """
    if torch.cuda.is_available():
        return torch.device("cuda")
    given = os.environ.get(ASKED, "")
    if given.strip() not in ("", "-1", "NoDevFiles") and not os.environ.get(CPU):
        raise UserError(
            f"this job was given GPUs ({ASKED}={given}) and torch {torch.__version__} sees none:"
            f" install a torch for this node's driver, or set {CPU}=1 to compute on the CPU"
        )
    return torch.device("cpu")


def device_name(device: torch.device) -> str:
    """What a GPU is called, or the kind of the CPU."""
    cpu = platform.processor() or platform.machine()
    return torch.cuda.get_device_name() if device.type == "cuda" else cpu
