"""A training that is killed and started again comes to the same end; and one through NCCL."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from prdit.generators.weights import state_of

from .case import ROOT, Case, entry_of, off, smooth
from .lines import Lines
from .trainings import lay_out, said, start

SAME = 1e-3
"""Of weights and of the held-out loss, relative."""
ATTEMPT_S, TEMPORARY = 120.0, 75
"""Longest wait for an attempt; exit status of one that saved and wants to be started again."""
KILLS = (
    ("SIGTERM", signal.SIGTERM, 0.1),
    ("SIGUSR1", signal.SIGUSR1, 0.3),
    ("kill -9", signal.SIGKILL, 0.5),
    ("kill -9 in a save", signal.SIGKILL, 0.6),
)
"""Signal, and after which share of the training."""


def run(case: Case, lines: Lines) -> None:
    with lines.trying("kill and resume"):
        kills(case, lines)
    with lines.trying("one process of torchrun"):
        torchrun(case, lines)


def setting(case: Case) -> tuple[Path, dict[str, Any]]:
    """A store, and PRDiT's stage 1 for some hundred steps."""
    size, steps = case.pick((64, 300), (8, 400))
    array = lay_out(case.fresh("resume"), smooth(32, size))
    training = {"volumes": 8 * steps, "batch": 8, "learning_rate": 1e-3, "ema": 0.99}
    return array, {"entry": entry_of(case, "PRDiT-local", training=training), "size": size}


def kills(case: Case, lines: Lines) -> None:
    array, about = setting(case)
    volumes = about["entry"].training.volumes
    whole, parts = case.fresh("resume/whole"), case.fresh("resume/parts")
    status = start(whole, array, **about).wait(ATTEMPT_S)
    lines.holds("uninterrupted", status == 0, said(whole) if status else "ends", "ends")
    for name, number, share in KILLS:
        child = start(parts, array, save_every=0.05 if "save" in name else 1.0, **about)
        reached = killed(child, parts, int(share * volumes), number, saving="save" in name)
        due = -number if number == signal.SIGKILL else TEMPORARY
        value = f"{reached:,} of {volumes:,} volumes, status {child.returncode}"
        lines.holds(f"{name} ends it", child.returncode == due, value, f"status {due}")
    status = start(parts, array, **about).wait(ATTEMPT_S)
    lines.holds("and then it", status == 0, said(parts) if status else "ends", "ends")
    (right, _), (mine, _) = (state_of(f / "weights.safetensors") for f in (whole, parts))
    one, other = (torch.cat([s[n].flatten() for n in right]) for s in (right, mine))
    lines.at_most("weights in parts = in one go", off(other, one), SAME)
    one, other = held_out_loss(whole), held_out_loss(parts)
    lines.at_most("held-out loss in parts = in one go", abs(other / one - 1), SAME)
    logs = [(folder / "log").read_text() for folder in (whole, parts)]
    eager = any("compiling for the GPU failed" in log for log in logs)
    lines.holds("no failure to compile", not eager, "eager" if eager else "none", "none")


def reached_by(folder: Path) -> int:
    """Volumes seen, by the newest line of the log that a training keeps with its states."""
    found = 0
    for path in folder.glob("states/*/log.jsonl"):
        for line in path.read_text().splitlines():
            try:
                found = max(found, json.loads(line)["volumes"])
            except (ValueError, KeyError):
                continue
    return found


def killed(
    child: subprocess.Popen[str], folder: Path, volumes: int, number: int, *, saving: bool
) -> int:
    """Send a signal once a training has got so far; in a save, if it is to be in one."""
    end = time.monotonic() + ATTEMPT_S
    while child.poll() is None and time.monotonic() < end:
        writes = not saving or any(folder.glob("states/*/.*.safetensors"))
        if writes and reached_by(folder) >= volumes:
            child.send_signal(number)
            break
        time.sleep(0.001 if saving else 0.01)
    try:
        child.wait(ATTEMPT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    return reached_by(folder)


def held_out_loss(folder: Path) -> float:
    """At the end."""
    lines = (folder / "training.jsonl").read_text().splitlines()
    return float(json.loads(lines[-1])["validation_loss"])


def torchrun(case: Case, lines: Lines) -> None:
    """A process group of one: every exchange takes place, and changes nothing."""
    out = case.fresh("exchange") / "exchanged.json"
    words = ["torch.distributed.run", "--standalone", "--nproc-per-node=1", "--module"]
    words = [sys.executable, "-m", *words, "gpu_stages.exchange", str(case.device), str(out)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    if done.returncode or not out.exists():
        print(done.stderr, file=sys.stderr)
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        lines.holds("torchrun with one process", False, last[:200], "ends")
        return
    found = json.loads(out.read_text())
    how = "NCCL" if case.cuda else "gloo (NCCL needs a GPU)"
    lines.at_most(f"losses through {how} = alone", found["losses"], 1e-4)
    lines.at_most(f"sums through {how} = what was summed", found["sums"], 0.0)
    lines.info("torch, NCCL", f"{torch.__version__}, {found['nccl']}")
