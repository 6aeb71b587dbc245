"""Runs stages one after the other, keeps what they say, and shows it as a table."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import LIMIT_S, LONG, Stage
from .child import MORE
from .lines import Line, read

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CODE = ("prdit/**/*.py", "benchmarks/gpu.py", "benchmarks/gpu_stages/*.py", "config/*.yaml")
"""Whose change makes earlier findings those of other code."""
TAKES_VECTORS = "parity"
ASK_CARD = """
import torch
cuda = torch.cuda.is_available()
name = torch.cuda.get_device_name(0) if cuda else ""
print(name, torch.__version__, torch.version.cuda, sep="|")
"""
Found = dict[str, Any]
"""about: card, code, golden; stages, by name: key, seconds, ended (whole, more, or why), lines."""


@dataclass(frozen=True)
class Order:
    """What a person asked for."""

    stages: Sequence[Stage]
    named: bool
    """Whether stages were named, one by one."""
    out: Path
    device: str
    """cuda or cpu."""
    minutes: float
    golden: Path | None = None
    again: bool = False
    """Whether to run what is there already."""


def carry_out(order: Order) -> int:
    """Run the stages; the exit status: 0, or 1 if a line failed."""
    end = time.monotonic() + 60 * order.minutes
    order.out.mkdir(parents=True, exist_ok=True)
    about = {"card": card(order), "code": code(), "golden": str(order.golden or "")}
    found = kept(order.out / "gpu.json") | {"about": about}
    for stage in order.stages:
        key = key_of(stage.name, about)
        before = found["stages"].get(stage.name, {})
        if before.get("key") == key and before["ended"] == "whole" and not order.again:
            print(f"{stage.name}: is there already ({order.out / 'gpu.json'})", flush=True)
            continue
        why_not = refused(stage, order, end - time.monotonic())
        print(f"{stage.name}: {why_not or 'begins'}", flush=True)
        while not why_not:
            told = one(stage, order, min(LIMIT_S, max(1.0, end - time.monotonic())))
            found["stages"][stage.name] = {"key": key, **told}
            write(order.out, found)
            if told["ended"] != "more" or refused(stage, order, end - time.monotonic()):
                break
        if why_not and before.get("key") != key:
            line = {"name": stage.name, "value": why_not, "bound": "", "result": "SKIP"}
            found["stages"][stage.name] = {"key": key, "seconds": 0.0, "ended": "not begun"}
            found["stages"][stage.name]["lines"] = [line]
        write(order.out, found)
    return conclusion(order, found)


def key_of(stage: str, about: dict[str, str]) -> str:
    """Of what a stage's findings are."""
    its = about if stage == TAKES_VECTORS else {**about, "golden": ""}
    return hashlib.sha256(json.dumps(its, sort_keys=True).encode()).hexdigest()[:12]


def refused(stage: Stage, order: Order, left_s: float) -> str | None:
    """Why a stage is not begun."""
    if stage.asked and not order.named and order.minutes < LONG:
        return f"only with --stage {stage.name}, or --minutes {LONG:g} and more"
    need = min(stage.minutes * 60, LIMIT_S) if order.device == "cuda" else 1.0
    if left_s < need:
        return f"not begun: it takes {need / 60:g} minutes, {max(left_s, 0) / 60:.1f} are left"
    return None


def one(stage: Stage, order: Order, limit_s: float) -> Found:
    """One stage in a process of its own, which ends with all that it started after its limit."""
    work = (order.out / "work").resolve()
    path = work / f"{stage.name}.jsonl"
    path.unlink(missing_ok=True)
    told = {"module": stage.module, "device": order.device, "out": str(order.out.resolve())}
    told |= {"lines": str(path), "limit_s": limit_s}
    told |= {"golden": str(order.golden.resolve()) if order.golden else ""}
    words = [sys.executable, "-m", "gpu_stages.child", json.dumps(told)]
    work.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with (work / f"{stage.name}.log").open("w+") as log:
        child = subprocess.Popen(
            words, cwd=ROOT, env=surroundings(order), stderr=log, start_new_session=True
        )
        try:
            status = child.wait(limit_s)
            ended = {0: "whole", MORE: "more"}.get(status, died(status, log))
        except subprocess.TimeoutExpired:
            ended = f"it did not end within {limit_s:.0f} s"
        finally:
            end_group(child)
    lines = read(path)
    if ended not in ("whole", "more"):
        lines.append({"name": f"{stage.name} runs", "value": ended, "bound": "", "result": "FAIL"})
    elif not lines:
        lines.append({"name": stage.name, "value": "said nothing", "bound": "", "result": "FAIL"})
    return {"seconds": round(time.monotonic() - began, 1), "ended": ended, "lines": lines}


def surroundings(order: Order) -> dict[str, str]:
    """The environment of a stage."""
    env = dict(os.environ)
    paths = [str(HERE.parent), str(ROOT), env.get("PYTHONPATH", "")]
    env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    env.setdefault("TORCHINDUCTOR_CACHE_DIR", str((order.out / "work" / "compiled").resolve()))
    env.pop("PRDIT_CPU", None)
    env.setdefault("CUDA_VISIBLE_DEVICES", "0")  # one card, for what a stage starts, too
    if order.device == "cpu":
        env |= {"PRDIT_CPU": "1", "CUDA_VISIBLE_DEVICES": ""}
    return env


def died(status: int, log: Any) -> str:
    """How a stage that did not end well ended: the last line of its error, or the signal."""
    log.flush()
    log.seek(0)
    said = log.read().strip().splitlines()
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return f"{said[-1][:240]} ({how})" if said else how


def end_group(child: subprocess.Popen[bytes]) -> None:
    """End a stage and whatever it left running."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)  # it leads a group of its own
    child.wait()


def card(order: Order) -> str:
    """The device and its torch; asked in another process, so that this one holds no GPU."""
    words = [sys.executable, "-c", ASK_CARD]
    env = surroundings(order)
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise SystemExit(f"torch cannot be used: {last}")
    name, torch, cuda = done.stdout.strip().splitlines()[-1].split("|")
    if order.device == "cpu":
        return f"CPU, a rehearsal at tiny sizes; torch {torch}"
    if not name:
        raise SystemExit(
            f"torch {torch} (CUDA {cuda}) sees no GPU; install a build for this machine's driver,"
            " or rehearse with --device cpu"
        )
    return f"{name}; torch {torch}, CUDA {cuda}"


def code() -> str:
    """Digest of the code that is measured and that measures."""
    digest = hashlib.sha256()
    for path in sorted({p for pattern in CODE for p in ROOT.glob(pattern)}):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def kept(path: Path) -> Found:
    """What earlier runs found."""
    try:
        found = json.loads(path.read_text())
        return found if isinstance(found["stages"], dict) else {"stages": {}}
    except (OSError, ValueError, KeyError, TypeError):
        return {"stages": {}}


def write(out: Path, found: Found) -> None:
    """gpu.json and gpu.md, each whole or as it was."""
    for name, text in (("gpu.json", json.dumps(found, indent=1) + "\n"), ("gpu.md", table(found))):
        partial = out / f".{name}"
        partial.write_text(text, encoding="utf-8")
        partial.replace(out / name)


def table(found: Found) -> str:
    """All lines as a Markdown table; findings of other code or another card are marked."""
    rows = ["| stage | check | value | bound | |", "| --- | --- | --- | --- | --- |"]
    for name, told in found["stages"].items():
        old = "" if current(name, found) else " (of other code, or another card)"
        for line in told["lines"]:
            cells = [name + old, line["name"], line["value"], line["bound"], line["result"]]
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    times = ", ".join(f"{n} {told['seconds']:.0f} s" for n, told in found["stages"].items())
    head = f"{found['about']['card']}; code {found['about']['code']}. {tally(found)}"
    return "\n".join([head, "", f"Took: {times}.", "", *rows, ""])


def tally(found: Found) -> str:
    results = [line["result"] for line in lines_of(found)]
    return ", ".join(f"{results.count(r)} {r}" for r in ("PASS", "FAIL", "INFO", "SKIP")) + "."


def lines_of(found: Found) -> list[Line]:
    """All lines of the present code and card."""
    names = [name for name in found["stages"] if current(name, found)]
    return [line for name in names for line in found["stages"][name]["lines"]]


def current(stage: str, found: Found) -> bool:
    """Whether a stage's findings are of the present code and card."""
    return found["stages"][stage]["key"] == key_of(stage, found["about"])


def conclusion(order: Order, found: Found) -> int:
    """Say how it ended."""
    failed = [line["name"] for line in lines_of(found) if line["result"] == "FAIL"]
    print(f"{tally(found)} The table: {order.out / 'gpu.md'}")
    if failed:
        print(f"failed: {'; '.join(failed)}")
    return 1 if failed else 0
