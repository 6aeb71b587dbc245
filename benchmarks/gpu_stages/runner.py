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
from .found import NOT_BEGUN, REHEARSAL, Found, conclusion, kept, key_of, write
from .lines import read, say
from .stops import Refused, alone, unbroken

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CODE = ("prdit/**/*.py", "benchmarks/gpu.py", "benchmarks/gpu_stages/*.py", "config/*.yaml")
"""Whose change makes earlier findings those of other code."""
ENDING_S = 5.0
"""For a stage to end what it started in other groups."""
ASK_CARD = """
import torch
cuda = torch.cuda.is_available()
name = torch.cuda.get_device_name(0) if cuda else ""
print(name, torch.__version__, torch.version.cuda, sep="|")
"""


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
    with alone(order.out):
        about = {"card": card(order), "code": code(), "golden": str(order.golden or "")}
        earlier = kept(order.out / "gpu.json")
        theirs = earlier.get("about", {}).get("card", REHEARSAL)
        if order.device == "cpu" and earlier["stages"] and not theirs.startswith(REHEARSAL):
            raise Refused(
                f"{order.out} has findings of a card ({theirs}), which a rehearsal would replace:"
                " name another folder with --out"
            )
        found = earlier | {"about": about}
        for stage in order.stages:
            carry_on(stage, order, found, end)
        return conclusion(order.out, found)


def carry_on(stage: Stage, order: Order, found: Found, end: float) -> None:
    """One stage, if it is to be run and there is time for it; what it finds is kept at once."""
    key = key_of(stage.name, found["about"])
    before = found["stages"].get(stage.name, {})
    if before.get("key") == key and before["ended"] == "whole" and not order.again:
        say(f"{stage.name}: is there already ({order.out / 'gpu.json'})")
        return
    why_not = refused(stage, order, end - time.monotonic())
    stays = before.get("ended", NOT_BEGUN) != NOT_BEGUN
    note = ""
    if stays and before["key"] != key:
        note = "what other code or another card found "
        note = f"; {note}stays" if why_not else f"; {note}is replaced at its end"
    say(f"{stage.name}: {why_not or 'begins'}{note}")
    while not why_not:
        told = one(stage, order, min(LIMIT_S, max(1.0, end - time.monotonic())))
        found["stages"][stage.name] = {"key": key, **told}
        write(order.out, found)
        if told["ended"] != "more" or refused(stage, order, end - time.monotonic()):
            break
    if why_not and not stays:
        line = {"name": stage.name, "value": why_not, "bound": "", "result": "SKIP"}
        found["stages"][stage.name] = {
            "key": key,
            "seconds": 0.0,
            "ended": NOT_BEGUN,
            "lines": [line],
        }
    write(order.out, found)


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
    child = None
    with (work / f"{stage.name}.log").open("w+") as log:
        try:
            with unbroken():  # none that nobody would end
                child = subprocess.Popen(
                    words, cwd=ROOT, env=surroundings(order), stderr=log, start_new_session=True
                )
            status = child.wait(limit_s)
            ended = {0: "whole", MORE: "more"}.get(status, died(status, log))
        except subprocess.TimeoutExpired:
            ended = f"it did not end within {limit_s:.0f} s"
        finally:
            with unbroken():
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


def end_group(child: subprocess.Popen[bytes] | None) -> None:
    """End a stage and whatever it left running."""
    if child is None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGTERM)  # it leads a group of its own
        with suppress(subprocess.TimeoutExpired):
            child.wait(ENDING_S)
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def card(order: Order) -> str:
    """The device and its torch; asked in another process, so that this one holds no GPU."""
    words = [sys.executable, "-c", ASK_CARD]
    env = surroundings(order)
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise SystemExit(f"torch cannot be used by {sys.executable}: {last}")
    name, torch, cuda = done.stdout.strip().splitlines()[-1].split("|")
    if order.device == "cpu":
        return f"{REHEARSAL}; torch {torch}"
    if not name:
        hides = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
        remedy = "install a build for this machine's driver"
        if not hides or hides.startswith("-"):
            remedy = f"CUDA_VISIBLE_DEVICES={hides} hides every card: unset it"
        raise SystemExit(
            f"torch {torch} (CUDA {cuda}) of {sys.executable} sees no GPU; {remedy},"
            " or rehearse with --device cpu"
        )
    return f"{name}; torch {torch}, CUDA {cuda}"


def code() -> str:
    """Digest of the code that is measured and that measures."""
    digest = hashlib.sha256()
    for path in sorted({p for pattern in CODE for p in ROOT.glob(pattern)}):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]
