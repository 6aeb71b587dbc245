"""Runs code that Inductor wrote for a GPU on the CPU: its kernels by Triton's interpreter.

    TRITON_INTERPRET=1 python -m gpu_dry.interpret code.py call.pt

The second file holds the arguments, {"arguments": [tensor, ...]}; results are added to it.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._inductor.async_compile import AsyncCompile

IMPORTS = """
import triton
import triton.language as tl
from torch._inductor.runtime import triton_helpers
from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math
"""
BLOCK = 1024
"""Elements along x that a program computes; along y, one."""


class Kernel:
    """A Triton kernel that is interpreted.

    Args:
        source: as Inductor wrote it; its decorators ask for a GPU and are left out.
        folder: to put it in, since Triton reads sources of functions from files.
    """

    def __init__(self, name: str, source: str, folder: Path) -> None:
        file = folder / f"{name}.py"
        file.write_text(IMPORTS + "@triton.jit" + source.split("@triton.jit", 1)[1])
        self.function = getattr(load(file), name)

    def run(self, *arguments: Any, stream: int) -> None:
        """A launch with a grid that covers all elements."""
        assert stream == 0
        names = [p for p in self.function.arg_names if p not in ("XBLOCK", "YBLOCK")]
        given = dict(zip(names, arguments, strict=True))
        blocks = {"XBLOCK": BLOCK}
        grid = [math.ceil(given["xnumel"] / BLOCK)]
        if "ynumel" in given:
            blocks["YBLOCK"] = 1
            grid.append(given["ynumel"])
        self.function[tuple(grid)](**given, **blocks)


def load(file: Path) -> Any:
    """A file as a module."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def on_the_cpu(size: Any, stride: Any, dtype: torch.dtype) -> Tensor:
    """Where the code asks for memory of a GPU."""
    return torch.empty_strided(size, stride, dtype=dtype)


def main(code: Path, call: Path) -> None:
    def kernel(_: AsyncCompile, name: str, source: str, **__: object) -> Kernel:
        return Kernel(name, source, code.parent)

    AsyncCompile.triton = kernel  # type: ignore[method-assign, assignment]
    AsyncCompile.wait = lambda *_: None  # type: ignore[method-assign]
    torch._C._dynamo.guards._empty_strided_cuda = on_the_cpu
    torch._C._cuda_getCurrentRawStream = lambda _: 0
    torch.cuda._DeviceGuard = torch.cuda.device = _Guard  # type: ignore[assignment, misc]
    torch.cuda.set_device = lambda _: None
    written = load(code)
    told = torch.load(call)
    torch.save({**told, "results": list(written.call(list(told["arguments"])))}, call)


class _Guard:
    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
