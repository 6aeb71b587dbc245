"""This machine: Python, packages, conda."""

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
