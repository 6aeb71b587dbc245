"""What all stages found: kept in gpu.json, and shown as a table in gpu.md."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from .lines import Line, say

TAKES_VECTORS = "parity"
NOT_BEGUN = "not begun"
REHEARSAL = "CPU, a rehearsal at tiny sizes"
Found = dict[str, Any]
"""about: card, code, golden; stages, by name: key, seconds, ended (whole, more, or why), lines."""


def key_of(stage: str, about: dict[str, str]) -> str:
    """Of what a stage's findings are."""
    its = about if stage == TAKES_VECTORS else {**about, "golden": ""}
    return hashlib.sha256(json.dumps(its, sort_keys=True).encode()).hexdigest()[:12]


def kept(path: Path) -> Found:
    """What earlier runs found; a file that is none of theirs is put aside."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {"stages": {}}
    except (ValueError, RecursionError):
        found = None
    if is_found(found):
        return found
    aside, number = path.with_name(f"{path.name}.damaged"), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged{number}")
    path.rename(aside)
    say(f"{path} is not what a run writes: it is {aside.name} now, and all stages begin anew")
    return {"stages": {}}


def is_found(found: object) -> bool:
    """Whether something has the shape of what is found."""
    if not isinstance(found, dict) or not isinstance(found.get("stages"), dict):
        return False
    about = found.get("about")
    return has_words(about, "card", "code", "golden") and all(
        has_words(told, "key", "ended")
        and isinstance(told.get("seconds"), int | float)
        and isinstance(told.get("lines"), list)
        and all(has_words(line, "name", "value", "bound", "result") for line in told["lines"])
        for told in found["stages"].values()
    )


def has_words(told: object, *names: str) -> bool:
    return isinstance(told, dict) and all(isinstance(told.get(name), str) for name in names)


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


def conclusion(out: Path, found: Found) -> int:
    """Say how it ended."""
    failed = [line for line in lines_of(found) if line["result"] == "FAIL"]
    say(f"{tally(found)} The table: {out / 'gpu.md'}")
    old = [name for name in found["stages"] if not current(name, found)]
    if old:
        say(f"of other code or another card, and not counted: {', '.join(old)}")
    for line in failed:
        say(
            f"failed: {line['name']}: {line['value']}"
            + (f" ({line['bound']})" * bool(line["bound"]))
        )
    return 1 if failed else 0
