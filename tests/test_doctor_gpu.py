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
        self.card("NVIDIA A100", "8.0", version, 2)

    def card(self, name: str, capability: str, driver: str, count: int = 1) -> None:
        row = f"echo '{name}, {driver}, {capability}'"
        self.program("nvidia-smi", "; ".join([row] * count))

    def torch(self, torch: Torch) -> None:
        self.patch.setattr(gpu, "torch_here", lambda: torch)

    def conda(self, build: str | None = "default") -> Line:
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
    assert machine.plain().sentence.endswith("ask for a newer driver, at least 525.60.13")
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
    said = machine.conda()
    assert said.verdict == "note"
    assert "(nvidia-smi answers: could not communicate with the driver)" in said.sentence
    machine.program("nvidia-smi", "echo 'Version mismatch'; echo 'NVML 580.65'; exit 18")
    assert "(nvidia-smi answers: Version mismatch NVML 580.65)" in machine.plain().sentence
    machine.program("nvidia-smi", "echo 'No devices were found'")
    said = machine.conda()
    assert said.verdict == "note"
    assert "no GPU here (nvidia-smi answers: No devices were found)" in said.sentence


CUT = "no build of torch 2.13.0 has code"
ASK = "ask for a newer driver"
PUT, DROP = "write `torch_build: cu126` into", "remove `torch_build: cu126` from"


@pytest.mark.parametrize(
    ("card", "capability", "driver", "build", "said"),
    [
        ("Tesla V100-SXM2-32GB", "7.0", "580.65.06", "default", PUT),
        ("Tesla V100-SXM2-32GB", "7.0", "535.104.05", "default", PUT),
        ("Tesla V100-SXM2-32GB", "7.0", "470.223.02", "default", f"525.60.13 or newer, and {PUT}"),
        ("Tesla V100-SXM2-32GB", "7.0", "535.104.05", "cu126", "ok"),
        ("Tesla P100-PCIE-16GB", "6.0", "580.65.06", "cu130", PUT),
        ("Tesla K80", "3.7", "470.223.02", "cu126", CUT),
        ("Tesla T4", "7.5", "580.65.06", "default", "ok"),
        ("NVIDIA L40S", "8.9", "580.65.06", "default", "ok"),
        ("NVIDIA L40S", "8.9", "535.104.05", "cu126", "ok"),
        ("NVIDIA H200", "9.0", "535.104.05", "default", PUT),
        ("NVIDIA B200", "10.0", "580.65.06", "default", "ok"),
        ("NVIDIA B200", "10.0", "580.65.06", "cu126", DROP),
        ("NVIDIA B200", "10.0", "570.86.15", "cu126", f"580.65.06 or newer, and {DROP}"),
        ("NVIDIA B200", "10.0", "570.86.15", "default", ASK),
        ("NVIDIA B300", "10.3", "580.65.06", "default", "ok"),
        ("NVIDIA GeForce RTX 5090", "12.0", "580.65.06", "cu126", DROP),
        ("NVIDIA GB10", "12.1", "580.65.06", "default", "ok"),
        ("Tesla V100-SXM2-32GB", "[N/A]", "580.65.06", "default", "ok"),
    ],
)
def test_the_torch_of_conda_environments_has_code_for_some_cards(
    machine: Machine, card: str, capability: str, driver: str, build: str, said: str
) -> None:
    machine.card(card, capability, driver)
    line = machine.conda(build)
    assert line.verdict == ("ok" if said == "ok" else "PROBLEM")
    assert said == "ok" or said in line.sentence


def test_cards_are_named(machine: Machine) -> None:
    machine.card("Tesla V100", "7.0", "580.65.06")
    assert machine.conda().sentence == (
        "nvidia-smi tells of Tesla V100, 580.65.06: the torch of conda environments, built for CUDA"
        " 13.0, has no code for Tesla V100 (sm_70): write `torch_build: cu126` into the config"
    )
    machine.program("nvidia-smi", "echo 'V100, 580.65.06, 7.0'; echo 'B200, 580.65.06, 10.0'")
    assert CUT in machine.conda().sentence


def test_an_nvidia_smi_that_knows_no_capability(machine: Machine) -> None:
    machine.program(
        "nvidia-smi",
        'case "$*" in *compute_cap*) echo \'Field "compute_cap" is not a valid field to query.\';'
        " exit 2;; esac; echo 'Tesla V100, 470.42.01'",
    )
    said = machine.conda("cu126")
    assert said.verdict == "PROBLEM"
    assert "Tesla V100, 470.42.01: " in said.sentence


@pytest.mark.parametrize("driver", ["[N/A]", "[Unknown Error]", ""])
def test_a_driver_that_cannot_be_read(machine: Machine, driver: str) -> None:
    machine.card("NVIDIA A100", "8.0", driver)
    said = machine.conda()
    assert said.verdict == "note"
    assert "the driver's version cannot be read" in said.sentence
    assert "cannot be read: install" in machine.plain().sentence  # that torch sees none is shown
    machine.torch(Torch("2.13.0+cu130", "13.0", 1))
    assert machine.conda().verdict == machine.plain().verdict == "ok"
    machine.card("Tesla V100", "7.0", driver)
    assert PUT in machine.conda().sentence


def test_a_config_that_cannot_be_read(machine: Machine) -> None:
    """Nothing is known of the jobs' torch then."""
    machine.driver("535.104.05")
    said = machine.conda(None)
    assert said.verdict == "note"
    assert "the config cannot be read" in said.sentence
    assert "cu126" not in said.sentence


def pip(build: str, version: str = "2.13.0") -> str:
    return f"`pip install --extra-index-url {gpu.INDEX}/{build} torch=={version}+{build}`"


def test_without_conda_a_torch_for_cpus_gets_the_command(machine: Machine) -> None:
    machine.driver("535.104.05")
    assert pip("cu126") in machine.plain().sentence
    machine.torch(Torch("2.12.1+cpu", None, 0))
    assert pip("cu126", "2.12.1") in machine.plain().sentence
    machine.driver("580.65.06")
    assert pip("cu130", "2.12.1") in machine.plain().sentence
    machine.torch(Torch("", None, 0, "torch cannot be imported (no module)"))
    assert pip("cu130") in machine.plain().sentence
    machine.card("Tesla V100", "7.0", "580.65.06")
    assert pip("cu126") in machine.plain().sentence
    machine.card("NVIDIA B200", "10.0", "570.86.15")
    assert machine.plain().sentence.endswith("ask for a newer driver, at least 580.65.06")


def test_without_conda_torch_says_what_it_has_code_for(machine: Machine) -> None:
    machine.card("Tesla V100", "7.0", "580.65.06")
    machine.torch(Torch("2.13.0+cu130", "13.0", 1, code=("sm_75", "sm_80", "compute_120")))
    said = machine.plain()
    assert said.verdict == "PROBLEM"
    assert "but torch sees them" in said.sentence
    assert "has no code for Tesla V100 (sm_70)" in said.sentence
    assert pip("cu126") in said.sentence
    machine.torch(Torch("2.13.0a0+own", "13.0", 1, code=("sm_70",)))
    assert machine.plain().verdict == "ok"
    machine.card("NVIDIA of 2030", "13.0", "680.10.01")
    machine.torch(Torch("2.13.0+cu130", "13.0", 1, code=("sm_120", "compute_120")))
    assert machine.plain().verdict == "ok"


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
