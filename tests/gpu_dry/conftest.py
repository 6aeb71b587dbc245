"""Tests on a CUDA device that is not there, for `launch.py`; elsewhere they are not collected."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ON = bool(os.environ.get("PRDIT_GPU_DRY"))
collect_ignore_glob = [] if ON else ["test_*.py"]
BOUNDS = Path(__file__).with_name("bounds.json")
SLACK = 1.02
"""How far a number may be above the recorded one: another torch fuses a little differently."""

if ON:
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from gpu_dry import compiling, device

    device.install()
    compiling.install()
    MODE = FakeTensorMode(allow_non_fake_inputs=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    if ON:
        parser.addoption("--record", action="store_true", help="write bounds.json anew")


def refuse(stance: str) -> None:
    """In place of going on without compiling, which would hide what is looked for here."""
    raise AssertionError(f"compiling failed, and a run would go on {stance}")


@pytest.fixture
def mode() -> Any:
    """Within it tensors have no memory, on whatever device; one for all, since some are kept."""
    return MODE


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, mode: Any) -> Iterator[None]:
    """A test on the device."""
    monkeypatch.setattr(torch.compiler, "set_stance", refuse)
    with warnings.catch_warnings(), mode:
        warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")
        yield


@pytest.fixture
def bound(request: pytest.FixtureRequest) -> Callable[[str, Any], None]:
    """Holds what a step does to what is recorded, or records it."""

    def held(name: str, step: Any) -> None:
        found, recorded = step.bounds(), json.loads(BOUNDS.read_text())
        mine = recorded.setdefault(f"sm_{device.SM}", {})
        if request.config.getoption("--record"):
            mine[name] = found
            partial = BOUNDS.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
            partial.replace(BOUNDS)
            return
        assert name in mine, f"nothing is recorded of {name}; make gpu-dry RECORD=1"
        above = {k: (v, mine[name][k]) for k, v in found.items() if v > SLACK * mine[name][k]}
        assert not above, f"(found, recorded): {above}; see docs/gpu.md if it is meant"

    return held
