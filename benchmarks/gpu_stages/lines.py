"""What a stage says: a line per check, each with value, bound and PASS or FAIL."""

from __future__ import annotations

import json
import math
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Line = dict[str, str]


class Lines:
    """Lines of one stage, in a file that grows: what a stage found outlives its end.

    Args:
        path: JSONL.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.began = path, time.monotonic()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

    def add(self, name: str, value: object, bound: str, result: str) -> None:
        line = {"name": name, "value": short(value), "bound": bound, "result": result}
        told = f"{name}: {line['value']}" + (f" ({bound})" if bound else "")
        say(f"{time.monotonic() - self.began:5.0f} s {result:4} {told}")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def at_most(self, name: str, value: float, bound: float, note: str = "") -> None:
        """A value that must not exceed a bound; not a number fails."""
        self.holds(name, value <= bound, short(value) + note, f"<= {bound:g}")

    def at_least(self, name: str, value: float, bound: float, note: str = "") -> None:
        self.holds(name, value >= bound, short(value) + note, f">= {bound:g}")

    def holds(self, name: str, held: bool, value: object, bound: str) -> None:
        self.add(name, value, bound, "PASS" if held else "FAIL")

    def info(self, name: str, value: object) -> None:
        """A value that has no bound."""
        self.add(name, value, "", "INFO")

    def skip(self, name: str, reason: str) -> None:
        """A check that could not be made here, and why."""
        self.add(name, reason, "", "SKIP")

    @contextmanager
    def trying(self, name: str) -> Iterator[None]:
        """An error within it is a line that failed, and the stage goes on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # whatever a machine never seen provokes
            traceback.print_exc()
            self.add(name, in_a_line(error), "no error", "FAIL")


def say(sentence: str) -> None:
    """To the terminal; that nobody reads any more (`| head`) does not end a run."""
    try:
        print(sentence, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        with suppress(OSError):
            print("nobody reads the output any more; the run goes on", file=sys.stderr)


def short(value: object) -> str:
    """A number with three digits, or words."""
    if isinstance(value, float):
        return f"{value:,.0f}" if math.isfinite(value) and abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def in_a_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says, of a length that a table bears."""
    said = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {said[0]}"[:240]


def read(path: Path) -> list[Line]:
    """The lines of a file; one that a kill cut short is passed over."""
    found = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            found.append(json.loads(text))
        except ValueError:
            continue
    return found
