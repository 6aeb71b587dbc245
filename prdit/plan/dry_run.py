"""The jobs that Snakemake would run, and why, as its dry run lists them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prdit.errors import UserError

REASONS = {
    "Missing output files": "missing output",
    "Incomplete output files": "incomplete output",
    "Updated input files": "updated input",
    "Input files updated by another job": "input of another job",
    "Set of input files has changed": "other input",
    "Code has changed": "code changed",
    "Params have changed": "params changed",
    "Software environment definition has changed": "environment changed",
    "Forced execution": "forced",
}
"""How Snakemake's reasons begin, and what they are called here."""
SOURCES = ("phantom", "fetch_series", "list_record", "fetch_scans", "look_through")
"""Rules that raw scans come from."""


@dataclass(frozen=True)
class Job:
    """One job that would run."""

    rule: str
    wildcards: dict[str, str]
    reasons: tuple[str, ...]
    threads: int
    resources: dict[str, str]

    @property
    def gpu(self) -> bool:
        """Whether it asks for one."""
        return self.number("gpu") > 0

    def number(self, resource: str) -> int:
        """Of a resource; 0 if there is none, or if it is known only when the job starts."""
        told = self.resources.get(resource, "")
        return int(told) if told.isdigit() else 0


def jobs(configs: Sequence[Path], profile: str = "none") -> list[Job]:
    """Every job of `snakemake -n` in this folder.

    Args:
        configs: each laid over those before.
        profile: a profile's folder. One that silences Snakemake hides jobs or their reasons.

    Raises:
        UserError: Snakemake refuses; its own sentence.
    """
    words = ["-n", "--nocolor", "--rerun-incomplete"]
    words += ["--profile", profile, "--workflow-profile", "none"]
    words += ["--cores", "1000"]  # else threads are cut down to one
    # As in the shipped profiles: a dry run without conda would take its environments for changed.
    words += ["--rerun-triggers", "mtime", "code", "input", "params"]
    words += ["--configfile", *map(str, configs)]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"snakemake -n fails: {sentence(done.stdout + done.stderr)}")
    return list(parsed(done.stdout + done.stderr))


def sentence(text: str) -> str:
    """What Snakemake complains of, in one line, without where in its rules it did."""
    found = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [line for line in found if not line.startswith(('File "', "Traceback", "Using profile"))]
    starts = [i for i, line in enumerate(kept) if re.match(r"\w+(Error|Exception)\b", line)]
    complaint = kept[starts[-1] :] if starts else kept[-1:]
    if len(complaint) > 1 and " in file " in complaint[0]:
        complaint = complaint[1:]
    return " ".join(complaint) or "it says nothing"


def parsed(text: str) -> Iterator[Job]:
    """The jobs that a dry run lists."""
    for block in re.split(r"^(?:local)?rule ", text, flags=re.MULTILINE)[1:]:
        rule, _, rest = block.partition(":")
        told = dict(re.findall(r"^    (\w+): (.*)$", rest, flags=re.MULTILINE))
        pairs = re.findall(r"(\w+)=([^,]*)", told.get("wildcards", ""))
        why = told.get("reason", "")
        reasons = tuple(short for long, short in REASONS.items() if long in why)
        # Values may hold commas, such as several partitions.
        resources = re.findall(r"(\w+)=(.*?)(?=, \w+=|$)", told.get("resources", ""))
        threads = int(told.get("threads", 1))
        yield Job(rule, dict(pairs), reasons or ("other",), threads, dict(resources))
