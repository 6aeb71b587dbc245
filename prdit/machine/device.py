"""Which device a run computes on: the CPU if asked for, else a GPU that no other job here has."""

from __future__ import annotations

import fcntl
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TextIO

import torch

from prdit.errors import UserError

VISIBLE, CPU = "CUDA_VISIBLE_DEVICES", "PRDIT_CPU"
"""What a scheduler sets for a job with GPUs; what a person sets to compute on the CPU anyway."""


def uses_gpu() -> bool:
    """Whether this process computes on a GPU.

    Raises:
        UserError: a job was given GPUs and torch sees none: a CPU would take days for nothing.
    """
    if os.environ.get(CPU, "").lower() not in ("", "0", "false", "no"):
        return False
    if torch.cuda.is_available():
        return True
    given = os.environ.get(VISIBLE, "")
    if given.strip() not in ("", "-1", "NoDevFiles"):
        raise UserError(
            f"this job was given GPUs ({VISIBLE}={given}) and torch {torch.__version__} sees none:"
            f" install a torch for this node's driver, or set {CPU}=1 to compute on the CPU"
        )
    return False


def chosen_device() -> torch.device:
    """The CPU, or a GPU with its number, which is this process's until it ends.

    Raises:
        UserError: see `uses_gpu`.
    """
    if not uses_gpu():
        return torch.device("cpu")
    device = torch.device("cuda", reserved_gpu() or 0)
    torch.cuda.set_device(device)
    return device


@cache
def reserved_gpu() -> int | None:
    """Number of the first GPU that no other process has reserved; None if each has one that did.

    Jobs that run beside each other without a scheduler so get a GPU each. Whoever finds all taken
    shares the first.
    """
    ids = [str(torch.cuda.get_device_properties(n).uuid) for n in range(torch.cuda.device_count())]
    number = first_free(ids)
    if number is None:
        print(
            f"each of {len(ids)} GPUs here is taken by another job; sharing the first",
            file=sys.stderr,
        )
    return number


_locks: list[TextIO] = []
"""Held until this process ends, however it does."""


def first_free(ids: Sequence[str]) -> int | None:
    """Place of the first id that no other process holds; this one holds it from now on."""
    folder = Path(tempfile.gettempdir(), f"prdit-gpus-{os.getuid()}")
    for place, name in enumerate(ids):
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.lstat().st_uid != os.getuid():
                return place  # somebody else made it, whose links are not followed
            lock = (folder / f"{name}.lock").open("a")
        except OSError:
            return place  # nowhere to write: as good as alone
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        except OSError:
            pass  # a file system without locks
        _locks.append(lock)
        return place
    return None


def device_name(device: torch.device) -> str:
    """What a GPU is called, or the kind of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
