"""This machine: Python, packages, GPU, conda."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from packaging.specifiers import SpecifierSet

from prdit.doctor.line import Line, ask, note, ok, problem
from prdit.doctor.profile import Profile


def look(profile: Profile) -> Iterator[Line]:
    """Whether the workflow can start here."""
    yield python()
    yield package("snakemake")
    if profile.slurm:
        yield package("snakemake-executor-plugin-slurm")
    torch = package("torch")
    # With conda, the rules that need torch bring their own.
    yield note(torch.sentence) if profile.conda and torch.verdict != "ok" else torch
    yield gpu(profile.conda)
    yield conda(profile.conda)


def asked(pattern: str) -> SpecifierSet:
    """The versions that pyproject.toml asks for; all where it says nothing."""
    # No tomllib: this should be able to tell a Python before 3.11 that it is too old.
    found = re.search(rf'{pattern}([<>=~!][^"]*)"', Path("pyproject.toml").read_text())
    return SpecifierSet(found[1] if found else "")


def python() -> Line:
    """Of this interpreter, which Snakemake runs in."""
    wanted, version = asked('requires-python = "'), platform.python_version()
    if wanted.contains(version, prereleases=True):
        return ok(f"Python {version}")
    return problem(f"Python {version} does not satisfy {wanted}: `make .venv PYTHON=python3.11`")


def package(name: str) -> Line:
    """Whether a package is there, in a version that pyproject.toml allows."""
    wanted = asked(f'"{name}')
    install = f"`pip install '{name}{wanted}'`"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return problem(f"{name} is not installed: {install}")
    if find_spec(name.replace("-", "_")) is None:
        return problem(f"{name} {version} is installed but cannot be imported: {install}")
    if not wanted.contains(version, prereleases=True):
        return problem(f"{name} {version} does not satisfy {wanted}: {install}")
    return ok(f"{name} {version}")


def gpu(conda: bool) -> Line:
    """Whether there is a GPU with a driver, and whether torch sees it."""
    answer = ask("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    built, count, error = _torch()
    if answer.failed or not answer.text.strip():
        # A login node may well have nvidia-smi and no GPU.
        return note(f"no GPU here ({answer.error}), as on a login node; {built}")
    gpus = "; ".join(answer.text.strip().splitlines())
    if count:
        return ok(f"torch sees {count} of: {gpus}")
    told = f"nvidia-smi tells of {gpus}, but torch sees none: {error or built}"
    if conda:
        return note(f"{told}; rules run in conda environments, which bring a torch of their own")
    return problem(f"{told}; install a torch for this driver, as https://pytorch.org tells")


def _torch() -> tuple[str, int, str]:
    """What torch was built for, the number of GPUs it sees, and why it cannot be imported."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library that it needs
        return "torch cannot be imported", 0, f"torch cannot be imported ({error})"
    cuda = torch.version.cuda
    built = f"torch {torch.__version__} is built {f'for CUDA {cuda}' if cuda else 'without CUDA'}"
    return built, torch.cuda.device_count() if cuda else 0, ""


def conda(used: bool) -> Line:
    """Whether there is conda, where each rule runs in an environment of its own."""
    answer = ask("conda", "--version")
    if not answer.failed:
        return ok(f"{answer.text.strip()}, for --sdm conda")
    if not used:
        return note("no conda: all rules run in this environment; leave `--sdm conda` out")
    mamba = "; mamba is there, but Snakemake calls conda itself" if shutil.which("mamba") else ""
    return problem(
        f"the profile wants conda environments and conda does not answer ({answer.error}){mamba}:"
        " load or install it (https://conda-forge.org/download), or remove"
        " `software-deployment-method: conda` from the profile"
    )
