"""What `prdit doctor` says of a machine's GPU: its driver, torch, and a compiler."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from prdit.doctor import gpu
from prdit.doctor.gpu import Torch
from prdit.doctor.line import Line

CPU = Torch("2.13.0+cpu", None, 0)
BLIND = Torch("2.13.0+cu130", "13.0", 0)


class Machine:
    """Programs in PATH and this environment's torch, to choose."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, patch
        patch.setenv("PATH", str(folder))
        patch.delenv("CC", raising=False)
        self.program("gcc")
        self.torch(CPU)

    def program(self, name: str, script: str = "exit 0") -> None:
        (self.folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / name).chmod(0o755)

    def driver(self, version: str) -> None:
        self.program("nvidia-smi", f"echo 'NVIDIA A100, {version}'; echo 'NVIDIA A100, {version}'")

    def torch(self, torch: Torch) -> None:
        self.patch.setattr(gpu, "torch_here", lambda: torch)

    def conda(self, build: str = "default") -> Line:
        (line,) = gpu.look(conda=True, build=build)
        return line

    def plain(self) -> Line:
        return next(gpu.look(conda=False, build="default"))

    def compiler(self) -> Line:
        _, line = gpu.look(conda=False, build="default")
        return line


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("build", "driver", "verdict"),
    [
        ("default", "580.65.06", "ok"),
        ("default", "590.44.01", "ok"),
        ("default", "580.65", "PROBLEM"),
        ("default", "575.57.08", "PROBLEM"),
        ("default", "535.104.05", "PROBLEM"),
        ("cu130", "570.86.15", "PROBLEM"),
        ("cu126", "570.86.15", "ok"),
        ("cu126", "580.65.06", "ok"),
        ("cu126", "525.60.13", "ok"),
        ("cu126", "525.60.11", "PROBLEM"),
        ("cu126", "470.223.02", "PROBLEM"),
        ("cpu", "580.65.06", "PROBLEM"),
    ],
)
def test_the_torch_of_conda_environments_needs_a_driver(
    machine: Machine, build: str, driver: str, verdict: str
) -> None:
    machine.driver(driver)
    assert machine.conda(build).verdict == verdict


def test_a_driver_that_is_too_old_gets_the_key_to_set(machine: Machine) -> None:
    machine.driver("535.104.05")
    assert machine.conda().sentence == (
        "nvidia-smi tells of NVIDIA A100, 535.104.05; NVIDIA A100, 535.104.05: the torch of conda"
        " environments, built for CUDA 13.0, needs driver 580.65.06 or newer: write `torch_build:"
        " cu126` into the config"
    )
    machine.driver("470.223.02")
    assert machine.conda().sentence.endswith("580.65.06 or newer: ask for a newer driver")


def test_a_driver_that_can_more_than_its_version_says(machine: Machine) -> None:
    """Such as by NVIDIA's packages for forward compatibility: a torch sees the GPUs."""
    machine.driver("535.104.05")
    machine.torch(Torch("2.12.0+cu126", "12.6", 2))
    assert machine.conda().verdict == "PROBLEM"
    machine.torch(Torch("2.13.0+cu130", "13.0", 2))
    assert machine.conda().verdict == "ok"


def test_without_conda_the_torch_here_is_asked(machine: Machine) -> None:
    machine.driver("570.86.15")
    machine.torch(Torch("2.12.0+cu126", "12.6", 2))
    assert machine.plain().sentence.startswith("torch sees 2 of: NVIDIA A100, 570.86.15")
    machine.torch(CPU)
    assert "but torch sees none: torch 2.13.0+cpu is built without CUDA" in machine.plain().sentence
    machine.torch(BLIND)
    said = machine.plain()
    assert said.verdict == "PROBLEM"
    assert "built for CUDA 13.0, which needs driver 580.65.06 or newer" in said.sentence
    assert f"`pip install --extra-index-url {gpu.INDEX}/cu126 torch==2.13.0+cu126`" in said.sentence
    machine.driver("470.223.02")
    assert machine.plain().sentence.endswith("ask for a newer driver")
    machine.driver("580.65.06")
    assert "as https://pytorch.org tells" in machine.plain().sentence


def test_a_torch_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert gpu.torch_here().told.startswith("torch cannot be imported (")


def test_no_gpu_here(machine: Machine) -> None:
    told = machine.conda()
    assert told.verdict == "note"
    assert "no GPU here (there is no nvidia-smi)" in told.sentence
    assert "CUDA 13.0 and needs NVIDIA driver 580.65.06 or newer" in told.sentence
    assert "needs NVIDIA driver 525.60.13 or newer" in machine.conda("cu126").sentence
    assert "torch_build: cpu uses none" in machine.conda("cpu").sentence
    assert "torch 2.13.0+cpu is built without CUDA" in machine.plain().sentence
    machine.program("nvidia-smi", "echo 'could not communicate with the driver'; exit 9")
    assert "no GPU here (could not communicate" in machine.conda().sentence


def test_a_compiler_is_there(machine: Machine) -> None:
    machine.torch(BLIND)
    assert machine.compiler().verdict == "ok"
    (machine.folder / "gcc").rename(machine.folder / "clang")
    assert machine.compiler().verdict == "ok"


@pytest.mark.parametrize(("driver", "verdict"), [("580.65.06", "PROBLEM"), (None, "note")])
def test_no_compiler(machine: Machine, driver: str | None, verdict: str) -> None:
    """Where there is a GPU it is wanted; a login node may do without."""
    machine.torch(BLIND)
    if driver:
        machine.driver(driver)
    (machine.folder / "gcc").unlink()
    said = machine.compiler()
    assert said.verdict == verdict
    assert said.sentence.startswith("there is no C compiler (gcc or clang): install one")
    assert "uncompiled there, which is slower" in said.sentence
    machine.program("cc")
    assert "there is only cc: `export CC=cc`" in machine.compiler().sentence
    machine.patch.setenv("CC", "nvc")
    assert "there is no compiler nvc, which CC names" in machine.compiler().sentence
    machine.program("nvc")
    assert machine.compiler().verdict == "ok"


def test_no_headers_of_python(machine: Machine) -> None:
    machine.driver("580.65.06")
    machine.patch.setattr(gpu.sysconfig, "get_path", lambda *_: str(machine.folder))
    said = machine.compiler()
    assert said.verdict == "PROBLEM"
    assert f"there is no {machine.folder}/Python.h: install the headers" in said.sentence


def test_a_machine_that_is_for_cpus_alone_needs_no_compiler(machine: Machine) -> None:
    (machine.folder / "gcc").unlink()
    assert len(list(gpu.look(conda=False, build="default"))) == 1
