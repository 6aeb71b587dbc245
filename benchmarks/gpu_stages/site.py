"""The machine: what is needed to compile, which attention is used, and its plain speeds."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn.functional import scaled_dot_product_attention

from prdit.machine.device import chosen_device, device_name
from prdit.machine.rate import synchronise

from .case import Case, product_rate
from .kernels import milliseconds
from .lines import Lines

LEAST_CAPABILITY = 8.0
"""bfloat16 by Triton."""


def run(case: Case, lines: Lines) -> None:
    lines.info("device", device_name(case.device))
    python, system = platform.python_version(), platform.platform()
    lines.info("software", f"Python {python}, torch {torch.__version__}, {system}")
    chosen = chosen_device()
    numbered = chosen.index is not None or not case.cuda
    lines.holds("the package chooses", numbered, str(chosen), "a GPU by its number")
    if case.cuda:
        card(case, lines)
    tools(lines)
    with lines.trying("attention"):
        attention(case, lines)
    speeds(case, lines)


def card(case: Case, lines: Lines) -> None:
    about = torch.cuda.get_device_properties(case.device)
    lines.info("memory, GB", about.total_memory / 1e9)
    lines.at_least("compute capability", about.major + about.minor / 10, LEAST_CAPABILITY)
    if shutil.which("nvidia-smi") is None:
        lines.skip("driver, power limit", "there is no nvidia-smi")
        return
    words = ["nvidia-smi", "--query-gpu=driver_version,power.limit", "--format=csv,noheader"]
    with lines.trying("nvidia-smi"):
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        lines.info("driver, power limit", said.strip().splitlines()[0])


def tools(lines: Lines) -> None:
    """Triton compiles a helper in C at its first use."""
    asked = os.environ.get("CC")  # as triton/runtime/build.py looks for it
    found = next(filter(None, map(shutil.which, [asked] if asked else ["gcc", "clang"])), None)
    none = f"none: there is no {asked}, which CC names" if asked else "neither gcc nor clang"
    if not asked and shutil.which("cc"):
        none += ", only cc: `export CC=cc`"
    lines.holds("C compiler", found is not None, found or none, "found")
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    lines.holds("Python.h", header.is_file(), str(header), "found")


def attention(case: Case, lines: Lines) -> None:
    """Which kernel computes the attention of PRDiT-4L at 128^3, forward and backward."""
    shape = case.pick((8, 12, 4096, 64), (1, 2, 64, 16))
    q, k, v = (
        torch.randn(shape, device=case.device, dtype=torch.bfloat16, requires_grad=True)
        for _ in range(3)
    )

    def call() -> None:
        scaled_dot_product_attention(q, k, v).sum().backward()

    call()
    signs = ("flash", "cudnn", "fmha", "efficient")
    names = [n for n in milliseconds(case, call) if any(sign in n.lower() for sign in signs)]
    lines.holds("fused attention", bool(names), "; ".join(n[:60] for n in names[:3]), "found")
    batch, heads, tokens, width = shape
    flop = 4 * batch * heads * tokens**2 * width
    for name, factor, way in (
        ("forward", 1.0, lambda: scaled_dot_product_attention(q.detach(), k.detach(), v.detach())),
        ("both ways", 3.5, call),
    ):
        rate = factor * flop / seconds(case, way) / 1e12
        lines.info(f"attention, {name}, TFLOP/s", rate)


def speeds(case: Case, lines: Lines) -> None:
    kinds = {"bfloat16": torch.bfloat16, "float32 or TF32": torch.float32}
    for name, dtype in kinds.items():
        torch.set_float32_matmul_precision("high")
        rate = product_rate(case, dtype, warm_s=2.0) / 1e12
        lines.info(f"product of random matrices, {name}, TFLOP/s", rate)
    a = torch.empty(case.pick(2**30, 2**22), dtype=torch.uint8, device=case.device)
    b = torch.empty_like(a)
    rate = 2 * a.numel() / seconds(case, lambda: b.copy_(a)) / 1e12
    lines.info("copy, read and written, TB/s", rate)
    tiny = torch.zeros(1, device=case.device)
    lines.info("launch of one small kernel, us", 1e6 * seconds(case, lambda: tiny.add_(1), 200))


def seconds(case: Case, call: Callable[[], object], repeats: int = 20) -> float:
    """Of one call, in a row of them."""
    for _ in range(3):
        call()
    synchronise(case.device)
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    synchronise(case.device)
    return (time.perf_counter() - started) / repeats
