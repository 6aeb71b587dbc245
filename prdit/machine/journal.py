"""What a training tells while it runs: a JSONL file, and lines or a bar for a person."""

from __future__ import annotations

import json
import math
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from prdit.files import atomic
from prdit.machine.memory import peak_gib
from prdit.machine.processes import Processes

Line = dict[str, Any]


class Journal:
    """One line per report, in a file and on stderr; on a terminal a bar instead.

    Only the first process writes.

    Args:
        path: JSONL; lines of an earlier attempt after `volumes` are dropped, since this one makes
            them again.
        volumes: seen so far.
        seconds: spent so far; the lines of an attempt that was killed may know of more.
        total: the length of the training.
        flop: of matrix products per volume, if known.
        peak: FLOP per second of matrix products alone, on one device: the utilisation is told as a
            share of it.
    """

    def __init__(
        self,
        path: Path,
        processes: Processes,
        *,
        volumes: int,
        seconds: float,
        total: int,
        flop: float | None,
        peak: float,
    ) -> None:
        self.path, self.processes, self.total, self.flop = path, processes, total, flop
        earlier = read(path)
        self.spent = max([seconds, *(entry["seconds"] for entry in earlier)])
        self.bar = None
        if processes.first:
            with atomic(path) as partial:
                kept = [entry for entry in earlier if entry["volumes"] <= volumes]
                partial.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
            if sys.stderr.isatty():
                self.bar = tqdm(total=total, initial=volumes, unit="volume", smoothing=0.05)
        self.peak = peak * processes.count
        self.started = self.since = time.perf_counter()
        self.volumes = volumes

    @property
    def seconds(self) -> float:
        """Spent on this training by all processes in all attempts."""
        return self.spent + (time.perf_counter() - self.started) * self.processes.count

    def __call__(self, volumes: int, told: Line) -> None:
        """Report what is `told` at a number of volumes seen."""
        now = time.perf_counter()
        speed = (volumes - self.volumes) / (now - self.since)
        self.volumes, self.since = volumes, now
        if not self.processes.first:
            return
        entry = {
            "volumes": volumes,
            **told,
            "volumes_per_second": speed,
            "utilisation": self.flop and self.flop * speed / self.peak,
            "seconds": self.seconds,
            "hours_to_go": max(0, self.total - volumes) / speed / 3600,
            "memory_gib": peak_gib(self.processes.device),
        }
        line = json.dumps({name: _short(value) for name, value in entry.items()})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        if self.bar is None:
            print(line, file=sys.stderr, flush=True)
        else:
            self.bar.update(volumes - self.bar.n)
            self.bar.set_postfix(loss=f"{told.get('loss', 0):.4f}")


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def read(path: Path) -> list[Line]:
    """The entries of a journal; a line that a crash cut short is passed over."""
    found = []
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                if math.isfinite(entry["seconds"]) and entry["volumes"] >= entry["step"] >= 1:
                    found.append(entry)
    return found
