"""Copies of the checkout, what Snakemake says of them, and what a whole run in one makes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from benchmarks.mutations import Refused
from benchmarks.outputs import snapshot
from prdit.config.file import load_file

ROOT = Path(__file__).resolve().parents[1]
CONFIG = "invalidation.yaml"
DIRECT = ("params changed", "rule implementation changed")
"""What `snakemake --summary` says of outputs whose recipe, code or command is another.

A dry run's reasons do not tell: of a job whose input is made anew they name that alone."""


class Job(NamedTuple):
    """A job of a dry run."""

    rule: str
    name: str
    """Rule and wildcards."""
    outputs: list[str]
    reason: str


def parsed(text: str) -> list[Job]:
    """The jobs of a dry run, without the target."""
    found = []
    for block in re.split(r"^(?:local)?rule (?=\w+:\s*$)", text, flags=re.MULTILINE)[1:]:
        rule = block.partition(":")[0]
        told: dict[str, str] = {}
        for key, value in re.findall(r"^    (\w+): (.*)$", block, re.MULTILINE):
            told.setdefault(key, value)
        name = f"{rule} {told.get('wildcards', '')}".strip()
        if "output" in told:
            found.append(Job(rule, name, told["output"].split(", "), told.get("reason", "")))
    return found


def directly(summary: str) -> set[str]:
    """Outputs whose recipe, code or command changed, of `snakemake --summary`."""
    rows = [line.split("\t") for line in summary.splitlines() if line.count("\t") >= 5]
    return {row[0] for row in rows if row[-2] in DIRECT}


def snakemake(folder: Path, *words: str, seconds: float | None = None) -> tuple[int, str, str]:
    """Exit status, output and messages. Raises Refused if it takes longer than `seconds`."""
    process = subprocess.Popen(
        ["snakemake", *words, "--configfile", CONFIG],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        told, said = process.communicate(timeout=seconds)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise Refused(f"no end after {seconds:.0f} s") from None
        raise
    return process.returncode, told, said


def asked(folder: Path, *words: str) -> str:
    """What Snakemake answers, on both streams. Raises Refused if it refuses the checkout."""
    status, told, said = snakemake(folder, *words)
    if status:
        raise Refused((told + said).strip()[-300:])
    return told + said


def copied(target: Path) -> Path:
    """A copy of what git tracks or would track, without results; the config with all defaults."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    shutil.rmtree(target, ignore_errors=True)
    for name in names.splitlines():
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/", "results/")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    told = load_file(ROOT / "benchmarks" / CONFIG).model_dump(mode="json")
    (target / CONFIG).write_text(yaml.safe_dump(told, sort_keys=False))
    return target


def recomputed(folder: Path, cores: int, limit: float | None = None) -> dict[str, Any]:
    """Everything from scratch: jobs with their outputs, a digest of each, seconds.

    Jobs that fail leave outputs missing, as do all that need them; the others run.
    """
    jobs = parsed(asked(folder, "-n", "-F"))
    started = time.perf_counter()
    words = ("--profile", "workflow/profiles/local", "--keep-going", "--cores", str(cores))
    status, told, said = snakemake(folder, *words, seconds=limit)
    seconds = round(time.perf_counter() - started, 1)
    found = snapshot(folder, [name for job in jobs for name in job.outputs])
    return {
        "jobs": {job.name: job.outputs for job in jobs},
        "outputs": found,
        "seconds": seconds,
        "failed": (told + said)[-2000:] if status else None,
    }
