"""Compiling for a GPU, and doing without where that fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import nn

from prdit.machine.memory import asked_for, wrapped

P = ParamSpec("P")
R = TypeVar("R")

BACKEND = "inductor"
SHAPES = 64
"""Shapes that one function may be compiled for in a run: micro-batches, halved for memory.

Beyond torch's 8, what asks for one whole graph would end the run.
"""
_failures: list[str] = []


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, compiled as one graph at its first call with tensors of each shape."""
    torch._dynamo.config.recompile_limit = SHAPES
    return torch.compile(function, fullgraph=True, dynamic=False, backend=BACKEND)


def compile_module(module: nn.Module) -> None:
    """Let calls of a module run compiled; names of its parameters stay."""
    torch._dynamo.config.recompile_limit = SHAPES
    module.compile(fullgraph=True, dynamic=False, backend=BACKEND)


def gives_up(error: BaseException) -> bool:
    """Whether it was compiling that failed; then, with a warning, nothing is compiled any more.

    A node may lack a C compiler or Python's headers, which Triton needs, or its compiler may have a
    fault: results are the same without, only later.
    """
    if gave_up() or asked_for(error) is not None:
        return False
    if not any(map(_of_a_compiler, wrapped(error))):
        return False
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    print(
        f"compiling for the GPU failed ({reason}); going on without, which is slower: is there a C"
        " compiler and Python.h on this node? `python -m prdit doctor` looks for both",
        file=sys.stderr,
        flush=True,
    )
    torch.compiler.set_stance("force_eager")
    _failures.append(reason)
    return True


def gave_up() -> bool:
    """Whether compiling failed in this process."""
    return bool(_failures)


def _of_a_compiler(error: BaseException) -> bool:
    module = type(error).__module__
    return (
        module.startswith(("torch._dynamo", "torch._inductor", "torch._functorch", "triton"))
        or isinstance(error, subprocess.CalledProcessError)
        or "C compiler" in str(error)
    )
