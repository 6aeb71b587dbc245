"""What an output says, without the times that differ between any two runs."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

FIELDS = {
    ".json": ("seconds", "memory_gib", "drawn", "key"),
    ".jsonl": ("seconds", "memory_gib", "volumes_per_second", "utilisation", "hours_to_go"),
    "costs.csv": ("hours", "memory_gib"),
    "provenance.json": ("jobs", "trainings"),
}
"""Fields that are left out, by a file's name or suffix: times, memory, and names of folders.

Of provenance.json, records of jobs and trainings, which are compared where they come from.
`drawn` counts the volumes that were not there already; `key` names the folder of a training's
states, by a digest that the code's is part of."""
MEASURED = ("stages.csv", "stages.png")
"""Left out: times of the rules that had run until then, which need not be all others."""
COSTS = re.compile(r'<h2 id="costs">.*(?=<h2 id="workflow">)', re.DOTALL)
"""Of the report's page: times of each rule and hours of each training."""
KEY = re.compile(r"\b[0-9a-f]{12}/")
"""Samples lie in a folder named by a digest that the code's is part of; what lies there is
compared by its sha256, which stands in the card."""


def snapshot(folder: Path, outputs: Iterable[str]) -> dict[str, str | None]:
    """Digest of each output; None of one that is not there."""
    return {name: digest(folder / name) for name in outputs}


def digest(path: Path) -> str | None:
    """Digest of what a file or folder says; None if it is not there."""
    if not path.exists():
        return None
    if path.is_dir():
        hidden = (one for one in sorted(path.rglob("*")) if one.is_file() and one.name[0] != ".")
        told = [f"{one.relative_to(path)} {digest(one)}\n" for one in hidden]
        return hashlib.sha256("".join(told).encode()).hexdigest()
    try:
        content = said(path)
    except (ValueError, KeyError, OSError):  # cut short, or no longer what its name says
        content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()


def said(path: Path) -> bytes:
    """Content of a file without what differs between any two runs."""
    without = FIELDS.get(path.name) or FIELDS.get(path.suffix, ())
    if path.name in MEASURED:
        return b""
    if path.suffix == ".json":
        return keyless(json.dumps(trimmed(json.loads(path.read_text()), without), sort_keys=True))
    if path.suffix == ".jsonl":
        lines = [trimmed(json.loads(line), without) for line in path.read_text().splitlines()]
        return keyless(json.dumps(lines, sort_keys=True))
    if path.suffix == ".npz":
        return arrays(path)
    if path.suffix == ".csv" and without:
        return keyless(columns(path.read_text(), without))
    if path.suffix in (".html", ".md", ".tex", ".csv"):
        return keyless(COSTS.sub("", path.read_text(encoding="utf-8")))
    return path.read_bytes()


def trimmed(told: Any, without: Iterable[str]) -> Any:
    """A mapping without some of its keys; anything else as it is."""
    return {k: v for k, v in told.items() if k not in without} if isinstance(told, dict) else told


def keyless(text: str) -> bytes:
    """Text without the names of folders that are digests."""
    return KEY.sub("KEY/", text).encode()


def columns(text: str, without: Iterable[str]) -> str:
    """A table without some of its columns."""
    return json.dumps([trimmed(row, without) for row in csv.DictReader(io.StringIO(text))])


def arrays(path: Path) -> bytes:
    """Names, types, shapes and values of the arrays of an .npz file."""
    told = []
    with np.load(path, allow_pickle=False) as file:
        for name in sorted(file.files):
            one = file[name]
            content = keyless(str(one.tolist())) if one.dtype.kind == "U" else one.tobytes()
            told.append(f"{name} {one.dtype.kind} {one.shape} ".encode() + content)
    return b"\n".join(told)
