"""Which device a run computes on: the CPU if asked for, else a GPU that no other job here has."""

from __future__ import annotations

import fcntl
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TextIO

import torch

from prdit.errors import UserError

VISIBLE, CPU = "CUDA_VISIBLE_DEVICES", "PRDIT_CPU"
"""What a scheduler sets for a job with GPUs; what a person sets to compute on the CPU anyway."""
OFF = ("", "0", "false", "no", "off")


def uses_gpu() -> bool:
    """Whether this process computes on a GPU.

    Raises:
        UserError: a job was given GPUs, or the machine has some, and torch sees none: a CPU would
            take days for nothing.
    """
    given = os.environ.get(VISIBLE, "")
    gpus = given.strip() not in ("", "-1", "NoDevFiles")
    if os.environ.get(CPU, "").strip().lower() not in OFF:
        if gpus:
            told = f"{CPU} is set: computing on the CPU, though {VISIBLE}={given}"
            print(told, file=sys.stderr, flush=True)
        return False
    if torch.cuda.is_available():
        return True
    card = None if VISIBLE in os.environ else card_of_the_machine()
    if gpus or card:
        whose = f"this job was given GPUs ({VISIBLE}={given})" if gpus else f"there is {card},"
        raise UserError(
            f"{whose} and torch {torch.__version__} sees none: install a torch for this node's"
            f" driver (`python -m prdit doctor` says which), or set {CPU}=1 to compute on the CPU"
        )
    return False


def card_of_the_machine() -> Path | None:
    """The first NVIDIA GPU that may be opened, which a scheduler forbids jobs without one."""
    for path in sorted(Path("/dev").glob("nvidia[0-9]*")):
        with suppress(OSError):
            os.close(os.open(path, os.O_RDWR))
            return path
    return None


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
    shares the first. Where locks cannot be had, the GPU is as torchrun counts its processes.
    """
    ids = [str(torch.cuda.get_device_properties(n).uuid) for n in range(torch.cuda.device_count())]
    try:
        number = first_free(ids)
    except OSError:
        return int(os.environ.get("LOCAL_RANK", "0")) % len(ids)
    if number is None:
        print(
            f"each of {len(ids)} GPUs here is taken by another job; sharing the first",
            file=sys.stderr,
        )
    return number


_locks: list[TextIO] = []
"""Held until this process ends, however it does."""


def first_free(ids: Sequence[str]) -> int | None:
    """Place of the first id that no other process holds; this one holds it from now on.

    Raises:
        OSError: there is nowhere to write, or the file system has no locks.
    """
    folder = Path(tempfile.gettempdir(), f"prdit-gpus-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise PermissionError(f"{folder} is another user's, whose links are not followed")
    for place, name in enumerate(ids):
        lock = (folder / f"{name}.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _locks.append(lock)
        return place
    return None


def device_name(device: torch.device) -> str:
    """What a GPU is called, or the kind of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
