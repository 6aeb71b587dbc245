"""The numbers of compiled noise: its generated kernels, interpreted, beside eager operations."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._inductor.compile_fx import compile_fx

from gpu_dry import compiling
from gpu_dry.device import DEVICE
from prdit.diffusion.noise import key, normal_at, uniform_at

TESTS = Path(__file__).resolve().parents[1]
INDEX = [0, 3, 2**32 - 1, 2**33 + 7, 2**40]
"""Numbers of volumes, beyond 32 bits, too."""
STEP = [0, 999, 1, 0, 17]
KEY = key(7, "sampling noise")
SHAPE = (1, 9, 9, 9)


def normal_(key: Tensor, index: Tensor, step: Tensor) -> Tensor:
    return normal_at(key, index, SHAPE, step)


def uniform_(key: Tensor, index: Tensor, step: Tensor) -> Tensor:
    return uniform_at(key, index) + 0 * step


def write(function: Callable[..., Tensor], arguments: dict[str, Tensor], code: Path) -> list[str]:
    """Let Inductor write kernels for a GPU; names of the arguments in the order that it takes."""
    order: list[str] = []

    def backend(graph: Any, inputs: Any) -> Any:
        order.extend(str(node.target) for node in graph.graph.nodes if node.op == "placeholder")
        return compile_fx(graph, inputs)

    torch._dynamo.reset()
    there = {name: torch.empty_like(value, device=DEVICE) for name, value in arguments.items()}
    torch.compile(function, fullgraph=True, dynamic=False, backend=backend)(**there)
    code.write_text(compiling.sources[-1])
    return [name.removeprefix("L_").removesuffix("_") for name in order]


def interpret(code: Path, arguments: list[Tensor]) -> Tensor:
    """What the kernels make of arguments."""
    call = code.with_name("call.pt")
    torch.save({"arguments": arguments}, call)
    settings = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(TESTS)}
    del settings["LD_PRELOAD"]
    command = [sys.executable, "-m", "gpu_dry.interpret", str(code), str(call)]
    subprocess.run(command, env=settings, check=True, timeout=300)
    (found,) = torch.load(call)["results"]
    return found


@pytest.mark.parametrize("function", [normal_, uniform_])
def test_compiled_noise_is_eager_noise(
    function: Callable[..., Tensor], tmp_path: Path, mode: Any
) -> None:
    arguments = {
        "key": torch.tensor(KEY),
        "index": torch.tensor(INDEX),
        "step": torch.tensor(STEP),
    }
    expected = function(**arguments)
    code = tmp_path / "code.py"
    with mode:
        order = write(function, arguments, code)
    found = interpret(code, [arguments[name] for name in order])
    assert found.shape == expected.shape
    largest = (found - expected).abs().max().item()
    assert largest < 2e-6
