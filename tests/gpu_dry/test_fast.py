"""What CI runs: one training step and one sampling step, and what a run asks of its device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from gpu_dry import steps
from gpu_dry.cases import CONFIGS, Case
from prdit.config.file import load_file
from prdit.machine import memory
from prdit.machine.device import chosen_device

CONFIG = load_file(CONFIGS / "quickstart.yaml")
CASE = Case("", CONFIG.models["PRDiT-4L"], 16, CONFIG.models["PRDiT-local"], None)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """The device that a run chooses where torch sees one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("PRDIT_CPU", raising=False)
    return chosen_device()


def test_free_memory_of_the_chosen_device_is_told(seen: torch.device) -> None:
    assert 0 < memory.free_bytes(seen) <= 80 * 2**30


def test_memory_of_the_chosen_device_can_be_limited(seen: torch.device) -> None:
    before = torch.cuda.get_per_process_memory_fraction(0)
    try:
        memory.limit(8, seen)
        assert torch.cuda.get_per_process_memory_fraction(0) == pytest.approx(0.1)
    finally:
        torch.cuda.set_per_process_memory_fraction(before, 0)


@pytest.mark.usefixtures("gpu")
def test_a_training_step_compiles(bound: Callable[[str, Any], None]) -> None:
    step = steps.training(CASE.build(), CASE.entry.training, CASE.size, CASE.micro_batch)
    assert step.compiled
    assert not step.faults
    bound("training: fast", step)


@pytest.mark.usefixtures("gpu")
def test_a_sampling_step_with_noise_compiles(bound: Callable[[str, Any], None]) -> None:
    step = steps.sampling(CASE.build(), CONFIG.samplers["k2"], 8)
    assert step.compiled
    assert not step.faults
    bound("sampling: fast", step)
