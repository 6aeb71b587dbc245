"""What a run has measured so far: seconds in the records of trainings, samples and timings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from prdit.files import read_json
from prdit.report.stages import measured

GPUS = ("NVIDIA", "Tesla", "Quadro", "GeForce", "AMD Instinct", "AMD Radeon")
"""How torch calls them; a CPU is called x86_64 or the like."""


@dataclass(frozen=True)
class Spent:
    """Seconds measured for some volumes, on a device."""

    seconds: float
    volumes: int
    device: str

    @property
    def gpu(self) -> bool:
        """Whether the device is one."""
        return self.device.startswith(GPUS)

    @property
    def hours(self) -> float:
        """Measured."""
        return self.seconds / 3600

    @property
    def each(self) -> float:
        """Seconds per volume."""
        return self.seconds / self.volumes


def training(results: Path, dataset: str, size: str, model: str) -> Spent | None:
    """Of a training: of all its processes, over all attempts."""
    path = results / "models" / dataset / size / model / "run.json"
    told = read_json(path, "status") if path.exists() else {}
    return _spent([told], "volumes")


def samples(results: Path, dataset: str, size: str, model: str, sampler: str) -> Spent | None:
    """Of all portions of all seeds; what was taken over was not drawn, and does not count."""
    folder = results / "samples" / dataset / size / model / sampler
    return _spent([read_json(path, "files") for path in folder.glob("seed*/*.json")], "drawn")


def timing(results: Path, dataset: str, size: str, model: str, sampler: str) -> Spent | None:
    """Of volumes drawn one at a time."""
    path = results / "timings" / dataset / size / model / f"{sampler}.json"
    told = read_json(path, "card") if path.exists() else {}
    seconds = told.get("seconds") or []
    device = str(told.get("card", {}).get("device", "")) if seconds else ""
    return Spent(sum(seconds), len(seconds), device) if seconds else None


def _spent(records: Iterable[dict[str, Any]], counted: str) -> Spent | None:
    """The sum of records that have seconds; none of a model that was out of memory, or taken."""
    found = [one for one in records if one.get("seconds") and one.get(counted)]
    if not found:
        return None
    seconds, volumes = (sum(one[key] for one in found) for key in ("seconds", counted))
    return Spent(seconds, volumes, str(found[0].get("device", "")))


def cpu_seconds(results: Path, rule: str) -> float | None:
    """Mean CPU seconds of a rule's jobs, as Snakemake's benchmarks have them."""
    folder = results / "benchmarks"
    paths = [*folder.glob(f"{rule}.tsv"), *(folder / rule).rglob("*.tsv")]
    found = [3600 * measured(path)["cpu_hours"] for path in paths]
    known = [seconds for seconds in found if not math.isnan(seconds)]
    return mean(known) if known else None
