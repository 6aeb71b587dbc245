"""The GPU of this machine: whether jobs' torch suits its driver, and can compile for it."""

from __future__ import annotations

import os
import re
import shutil
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from prdit.doctor.line import Line, ask, note, ok, problem

BUILDS = {"default": "13.0", "cu126": "12.6", "cu130": "13.0", "cpu": None}
"""`torch_build` -> CUDA of the torch in conda environments; the default is PyPI's torch 2.13."""
DRIVERS = {11: (450, 80, 2), 12: (525, 60, 13), 13: (580, 65, 6)}
"""Major version of CUDA -> the oldest driver on Linux that runs whatever is built for it.

Within a major version the first one's driver is enough ("minor version compatibility"):
https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html, with the digits
after the point from https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/.
"""
INDEX = "https://download.pytorch.org/whl"


class Torch(NamedTuple):
    """The torch of this environment."""

    version: str
    cuda: str | None
    """That it is built for; None for none."""
    gpus: int
    """GPUs that it can use."""
    error: str = ""
    """Why it cannot be imported."""

    @property
    def told(self) -> str:
        """What it is, in words."""
        built = f"is built for CUDA {self.cuda}" if self.cuda else "is built without CUDA"
        return self.error or f"torch {self.version} {built}"


class Gpu(NamedTuple):
    """What nvidia-smi says of this machine."""

    names: str
    driver: tuple[int, ...]


def look(conda: bool, build: str) -> Iterator[Line]:
    """Whether jobs can use the GPU here.

    Args:
        conda: whether jobs run in conda environments, with a torch of their own.
        build: the config's `torch_build`, which says what torch that is.
    """
    mine = torch_here()
    answer = ask("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    gpus = answer.text.strip().splitlines()
    if answer.failed or not gpus:
        yield absent(answer.error, mine, conda, build)
    else:
        here = Gpu("; ".join(gpus), numbers(gpus[0].rpartition(",")[2]))
        yield in_conda(here, mine, build) if conda else without_conda(here, mine)
    # conda environments bring a compiler and the header.
    if not conda and (gpus or mine.cuda):
        yield compiler(problem if gpus else note)


def torch_here() -> Torch:
    """The torch that can be imported here."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library that it needs
        return Torch("", None, 0, f"torch cannot be imported ({error})")
    with warnings.catch_warnings(action="ignore"):  # of a driver that is too old
        # The count by itself asks the driver's library, which no driver is too old for.
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Torch(torch.__version__, torch.version.cuda, count)


def numbers(version: str) -> tuple[int, ...]:
    """A version as numbers, to compare; nothing if it has none."""
    return tuple(map(int, re.findall(r"\d+", version)))


def needed(cuda: str) -> tuple[int, ...]:
    """The oldest driver for a torch; nothing where the table has no word."""
    return DRIVERS.get(numbers(cuda)[0], ())


def written(driver: tuple[int, ...]) -> str:
    """A driver's version as NVIDIA writes it."""
    return ".".join(f"{part:02}" for part in driver)


def absent(why: str, mine: Torch, conda: bool, build: str) -> Line:
    """No GPU here; a login node may well have nvidia-smi and no GPU."""
    cuda = BUILDS[build] if conda else mine.cuda
    told = f"no GPU here ({why}), as on a login node"
    whose = f"torch of conda environments is built for CUDA {cuda}" if conda else mine.told
    if cuda is None:
        return note(f"{told}; {'torch_build: cpu uses none' if conda else mine.told}")
    driver = written(needed(cuda)) or "a driver"
    return note(f"{told}; {whose} and needs NVIDIA driver {driver} or newer: look on a GPU node")


def in_conda(here: Gpu, mine: Torch, build: str) -> Line:
    """Whether the torch of conda environments suits a driver."""
    cuda = BUILDS[build]
    told = f"nvidia-smi tells of {here.names}"
    if cuda is None:
        return problem(f"{told}, and torch_build: cpu uses no GPU: remove it from the config")
    # A package of NVIDIA's lets a driver run more than its version says; a torch shows that.
    shown = mine.gpus > 0 and mine.cuda is not None and numbers(mine.cuda) >= numbers(cuda)
    built = f"the torch of conda environments, built for CUDA {cuda}"
    if shown or here.driver >= needed(cuda):
        return ok(f"{told}: the driver suits {built}")
    fit = [key for key in BUILDS if suits(here, BUILDS[key])]
    what = f"write `torch_build: {fit[0]}` into the config" if fit else "ask for a newer driver"
    return problem(f"{told}: {built}, needs driver {written(needed(cuda))} or newer: {what}")


def without_conda(here: Gpu, mine: Torch) -> Line:
    """Whether the torch of this environment, which jobs run in, sees the GPU."""
    if mine.gpus:
        return ok(f"torch sees {mine.gpus} of: {here.names}")
    told = f"nvidia-smi tells of {here.names}, but torch sees none: {mine.told}"
    if mine.cuda is None or here.driver >= needed(mine.cuda):
        return problem(f"{told}; install a torch for this driver, as https://pytorch.org tells")
    told = f"{told}, which needs driver {written(needed(mine.cuda))} or newer"
    fit = [key for key in BUILDS if suits(here, BUILDS[key])]
    if not fit:
        return problem(f"{told}: ask for a newer driver")
    wanted = f"torch=={mine.version.partition('+')[0]}+{fit[0]}"
    return problem(
        f"{told}: `pip install --extra-index-url {INDEX}/{fit[0]} {wanted}`, or run with --sdm"
        f" conda and `torch_build: {fit[0]}` in the config"
    )


def suits(here: Gpu, cuda: str | None) -> bool:
    """Whether a driver runs what is built for a CUDA."""
    return cuda is not None and here.driver >= needed(cuda)


def compiler(missing: Callable[[str], Line]) -> Line:
    """Whether Triton finds the C compiler and Python.h that it builds a helper with at first use.

    Args:
        missing: makes the line where it does not.
    """
    # As triton/runtime/build.py looks for them.
    asked, scheme = os.environ.get("CC"), sysconfig.get_default_scheme()
    scheme = "posix_prefix" if scheme == "posix_local" else scheme
    header = Path(sysconfig.get_path("include", scheme), "Python.h")
    names = [asked] if asked else ["gcc", "clang"]
    found = next(filter(shutil.which, names), None)
    if found and header.is_file():
        return ok(f"Triton can compile: {found} and {header} are there")
    if found:
        told = f"there is no {header}: install the headers of this Python (python3-dev)"
    elif asked:
        told = f"there is no compiler {asked}, which CC names: correct it"
    elif shutil.which("cc"):
        told = "Triton looks for gcc and clang, and there is only cc: `export CC=cc`"
    else:
        told = "there is no C compiler (gcc or clang): install one, or load its module"
    return missing(
        f"{told}. Nodes with GPUs need it, or trainings and samples run uncompiled there, which is"
        " slower; conda environments (--sdm conda) bring all of it"
    )
