"""Expensive results in folders named by what they are of, so that an edit loses none of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from prdit.files import write_json

IDENTITY = "identity.json"


class Kept:
    """A folder for the results of one identity: recipe, code and inputs, as JSON.

    Whatever has another identity has another folder, so that nothing is ever taken for what it is
    not, and undoing an edit finds again what was made before it.
    """

    def __init__(self, parent: Path, identity: dict[str, Any]) -> None:
        self.parent, self.identity = parent, identity
        text = json.dumps(identity, sort_keys=True)
        self.key = hashlib.sha256(text.encode()).hexdigest()[:12]
        self.folder = parent / self.key

    def declare(self) -> None:
        """Make the folder, and say in it what it is of."""
        write_json(self.folder / IDENTITY, self.identity)

    def siblings(self) -> list[Kept]:
        """Every other identity that has a folder here, in the order of their keys."""
        found = []
        for path in sorted(self.parent.glob(f"*/{IDENTITY}")):
            try:
                other = Kept(self.parent, json.loads(path.read_text()))
            except (OSError, ValueError):
                continue
            if other.key == path.parent.name != self.key:
                found.append(other)
        return found

    def differs_in_code_alone(self, other: Kept) -> bool:
        """Whether the other is the same but for the code that made it."""
        return {**self.identity, "code": None} == {**other.identity, "code": None}

    def difference(self, other: Kept) -> str:
        """In what the other differs, a line each: "recipe.model.depth: 8 there, 16 here"."""
        return "".join(f"\n  {line}" for line in difference(self.identity, other.identity))


def difference(mine: Any, other: Any, where: str = "") -> list[str]:
    """In what two JSON values differ."""
    if isinstance(mine, dict) and isinstance(other, dict):
        lines = [
            difference(mine.get(key), other.get(key), f"{where}.{key}".lstrip("."))
            for key in sorted({*mine, *other})
        ]
        return [line for some in lines for line in some]
    return [] if mine == other else [f"{where}: {other} there, {mine} here"]
