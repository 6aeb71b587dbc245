"""The GPU of this machine: whether jobs' torch suits card and driver, and can compile for it."""

from __future__ import annotations

import os
import re
import shutil
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from prdit.doctor.line import Answer, Line, ask, note, ok, problem

BUILDS = {"default": "13.0", "cu126": "12.6", "cu130": "13.0", "cpu": None}
"""`torch_build` -> CUDA of the torch in conda environments; the default is PyPI's torch 2.13."""
DRIVERS = {11: (450, 80, 2), 12: (525, 60, 13), 13: (580, 65, 6)}
"""Major version of CUDA -> the oldest driver on Linux that runs whatever is built for it.

Within a major version the first one's driver is enough ("minor version compatibility"):
https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html, with the digits
after the point from https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/.
"""
CODE = {
    "13.0": ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"),
    "12.6": ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"),
}
"""CUDA of a torch 2.13 -> architectures of GPUs that it has code for."""
INDEX = "https://download.pytorch.org/whl"
RELEASE = "2.13.0"
"""The torch of conda environments, which there is a build of for each index."""
NO_BUILD = f"no build of torch {RELEASE} has code for all GPUs here: use others, or PRDIT_CPU=1"
CAPABILITY = re.compile(r"\s*(\d{1,2})\.(\d)\s*").fullmatch
"""A driver's version has three digits before the first point."""
VERSION = re.compile(r"\s*\d+(\.\d+)*\s*").fullmatch
"""`[N/A]` is none."""


class Torch(NamedTuple):
    """The torch of this environment."""

    version: str
    cuda: str | None
    """That it is built for; None for none."""
    gpus: int
    """GPUs that it can use."""
    error: str = ""
    """Why it cannot be imported."""
    code: tuple[str, ...] = ()
    """Architectures of GPUs that it has code for, as it says where it sees a GPU."""

    @property
    def told(self) -> str:
        """What it is, in words."""
        built = f"is built for CUDA {self.cuda}" if self.cuda else "is built without CUDA"
        return self.error or f"torch {self.version} {built}"


class Gpu(NamedTuple):
    """What nvidia-smi says of this machine."""

    names: str
    driver: tuple[int, ...]
    """Its version; nothing where it cannot be read."""
    cards: dict[str, tuple[int, int]]
    """Each kind of GPU and its compute capability, where nvidia-smi knows that."""


def look(conda: bool, build: str | None) -> Iterator[Line]:
    """Whether jobs can use the GPU here.

    Args:
        conda: whether jobs run in conda environments, with a torch of their own.
        build: the config's `torch_build`, which says what torch that is; None if it cannot be read.
    """
    mine = torch_here()
    here, why = gpu_here()
    if conda and build is None:
        yield note(
            "whether GPU and driver suit the torch of conda environments was not looked at: which"
            " torch that is, `torch_build` says, and the config cannot be read"
        )
    elif here is None:
        yield absent(why, mine, BUILDS[build] if conda and build else mine.cuda, conda)
    else:
        yield in_conda(here, mine, build) if conda and build else without_conda(here, mine)
    # conda environments bring a compiler and the header.
    if not conda and (here or mine.cuda):
        yield compiler(problem if here else note)


def gpu_here() -> tuple[Gpu | None, str]:
    """What nvidia-smi tells of, or None and why."""
    fields = ["name", "driver_version", "compute_cap"]
    answer = query(fields)
    if "compute_cap" in answer.text + answer.error:  # "is not a valid field", by older ones
        answer = query(fields[:2])
    # "No devices were found" has no commas, and comes with exit status 0, too.
    rows = [row.split(", ") for row in answer.text.splitlines() if ", " in row]
    if answer.failed or not rows:
        said = " ".join(answer.text.split()) or answer.error
        there = shutil.which("nvidia-smi")
        return None, f"nvidia-smi answers: {said.rstrip('.')}" if there else said
    cards = {row[0]: (int(cap[1]), int(cap[2])) for row in rows if (cap := CAPABILITY(row[-1]))}
    names = "; ".join(", ".join(row[:2]) for row in rows)
    return Gpu(names, numbers(rows[0][1]) if VERSION(rows[0][1]) else (), cards), ""


def query(fields: list[str]) -> Answer:
    """Ask nvidia-smi, a row per GPU."""
    return ask("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader")


def torch_here() -> Torch:
    """The torch that can be imported here."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library that it needs
        return Torch("", None, 0, f"torch cannot be imported ({error})")
    with warnings.catch_warnings(action="ignore"):  # of a driver that is too old
        # The count by itself asks the driver's library, which no driver is too old for.
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        code = tuple(torch.cuda.get_arch_list()) if count else ()
    return Torch(torch.__version__, torch.version.cuda, count, code=code)


def numbers(version: str) -> tuple[int, ...]:
    """A version as numbers, to compare; nothing if it has none."""
    return tuple(map(int, re.findall(r"\d+", version)))


def needed(cuda: str) -> tuple[int, ...]:
    """The oldest driver for a torch; nothing where the table has no word."""
    return DRIVERS.get(numbers(cuda)[0], ())


def written(driver: tuple[int, ...]) -> str:
    """A driver's version as NVIDIA writes it."""
    return ".".join(f"{part:02}" for part in driver)


def runs(capability: tuple[int, int], code: tuple[str, ...]) -> bool:
    """Whether a GPU runs code: that of its generation up to its own, and what drivers translate."""
    for kind, major, minor in re.findall(r"\b(sm|compute)_(\d+)(\d)\b", " ".join(code)):
        made_for = (int(major), int(minor))
        if made_for <= capability and (kind == "compute" or made_for[0] == capability[0]):
            return True
    return not code


def foreign(here: Gpu, code: tuple[str, ...]) -> str:
    """The GPUs that code does not run on, in words."""
    cards = here.cards.items()
    return ", ".join(f"{name} (sm_{c[0]}{c[1]})" for name, c in cards if not runs(c, code))


def fitting(here: Gpu, *, any_driver: bool = False) -> list[str]:
    """The builds of torch with code for all GPUs here, and that the driver runs."""
    return [
        key
        for key, cuda in BUILDS.items()
        if cuda and not foreign(here, CODE[cuda]) and (any_driver or here.driver >= needed(cuda))
    ]


def absent(why: str, mine: Torch, cuda: str | None, conda: bool) -> Line:
    """No GPU here; a login node may well have nvidia-smi and no GPU."""
    told = f"no GPU here ({why}), as on a login node"
    whose = f"torch of conda environments is built for CUDA {cuda}" if conda else mine.told
    if cuda is None:
        return note(f"{told}; {'torch_build: cpu uses none' if conda else mine.told}")
    driver = written(needed(cuda)) or "a driver"
    return note(f"{told}; {whose} and needs NVIDIA driver {driver} or newer: look on a GPU node")


def in_conda(here: Gpu, mine: Torch, build: str) -> Line:
    """Whether the torch of conda environments suits cards and driver."""
    cuda = BUILDS[build]
    told = f"nvidia-smi tells of {here.names}"
    if cuda is None:
        return problem(f"{told}, and torch_build: cpu uses no GPU: remove it from the config")
    # A package of NVIDIA's lets a driver run more than its version says; a torch shows that.
    shown = mine.gpus > 0 and mine.cuda is not None and numbers(mine.cuda) >= numbers(cuda)
    built = f"the torch of conda environments, built for CUDA {cuda}"
    if cards := foreign(here, CODE[cuda]):
        return problem(f"{told}: {built}, has no code for {cards}: {remedy(here, build)}")
    if not here.driver and not shown:
        return note(
            f"{told}: the driver's version cannot be read; {built}, needs"
            f" {written(needed(cuda))} or newer"
        )
    if shown or here.driver >= needed(cuda):
        return ok(f"{told}: the driver suits {built}")
    needs = f"needs driver {written(needed(cuda))} or newer"
    return problem(f"{told}: {built}, {needs}: {remedy(here, build)}")


def remedy(here: Gpu, build: str) -> str:
    """What to do where a build does not suit cards or driver."""
    able = fitting(here, any_driver=True)
    if not able:
        return NO_BUILD
    fit = fitting(here) if here.driver else able
    key = (fit or able)[0]
    write = f"write `torch_build: {key}` into the config"
    if key == "default":
        write = f"remove `torch_build: {build}` from the config (or the profile)"
    if fit:
        return write
    if build in able:
        return "ask for a newer driver"
    return f"ask for driver {written(needed(BUILDS[key] or ''))} or newer, and {write}"


def without_conda(here: Gpu, mine: Torch) -> Line:
    """Whether the torch of this environment, which jobs run in, sees the GPU and suits it."""
    cards = foreign(here, mine.code or CODE.get(mine.cuda or "", ()))
    if mine.gpus and not cards:
        return ok(f"torch sees {mine.gpus} of: {here.names}")
    sees = "torch sees them" if mine.gpus else "torch sees none"
    told = f"nvidia-smi tells of {here.names}, but {sees}: {mine.told}"
    if cards and mine.cuda:
        told = f"{told} and has no code for {cards}"
    elif not here.driver:
        told = f"{told}; the driver's version cannot be read"
        return problem(f"{told}: install a torch for this driver, as https://pytorch.org tells")
    elif mine.cuda and here.driver >= needed(mine.cuda):
        return problem(f"{told}; install a torch for this driver, as https://pytorch.org tells")
    elif mine.cuda:
        told = f"{told}, which needs driver {written(needed(mine.cuda))} or newer"
    able = fitting(here, any_driver=True)
    if not able:
        return problem(f"{told}: {NO_BUILD}")
    # An unknown driver need not be too old.
    fit = fitting(here) or ([] if here.driver else able)
    if not fit:
        oldest = min(needed(BUILDS[key] or "") for key in able)
        return problem(f"{told}: ask for a newer driver, at least {written(oldest)}")
    build = "cu130" if fit[0] == "default" else fit[0]
    release = re.match(r"\d+\.\d+\.\d+(?=\+|$)", mine.version)
    wanted = f"torch=={release[0] if release else RELEASE}+{build}"
    return problem(
        f"{told}: `pip install --extra-index-url {INDEX}/{build} {wanted}`, or run with --sdm"
        f" conda and `torch_build: {fit[0]}` in the config"
    )


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
