"""docs/fidelity.md names keys that exist, and tells all that config/released.yaml changes."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from prdit.config import Config
from prdit.config.file import load

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ["#", "point", "paper", "released code", "here by default (config/paper.yaml)"]
COLUMNS += ["config key", "why"]
KEY = re.compile(r"`([^`]+)`(?: \(released\.yaml: ([^)]+)\))?")
NO_KEY = ("fixed", "not built yet")
NAMED = ("datasets", "models", "samplers")
SCHEMA = Config.model_json_schema()


def table() -> list[dict[str, str]]:
    """The rows of the page's one table, a cell per column."""
    page = (ROOT / "docs" / "fidelity.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == COLUMNS
    assert set(cells[1]) == {"---"}
    return [dict(zip(COLUMNS, row, strict=True)) for row in cells[2:]]


ROWS = table()
KEYS = [(row["#"], *found) for row in ROWS for found in KEY.findall(row["config key"])]
"""(row, dotted key, value in released.yaml or "")"""


def exists(key: str) -> bool:
    """Whether a dotted key is one of the config's; `<name>` is a key of a dictionary."""
    nodes = alternatives(SCHEMA)
    for part in key.split("."):
        nodes = [a for node in nodes for child in children(node, part) for a in alternatives(child)]
    return bool(nodes)


def alternatives(node: dict[str, Any]) -> list[dict[str, Any]]:
    """A node of the schema with its references followed, taken apart where it is a union."""
    if "$ref" in node:
        return alternatives(SCHEMA["$defs"][node["$ref"].rsplit("/", 1)[-1]])
    union = node.get("anyOf") or node.get("oneOf")
    return [a for one in union for a in alternatives(one)] if union else [node]


def children(node: dict[str, Any], part: str) -> list[dict[str, Any]]:
    if part != "<name>":
        return [node["properties"][part]] if part in node.get("properties", {}) else []
    named = [node.get("additionalProperties"), *node.get("patternProperties", {}).values()]
    return [child for child in named if isinstance(child, dict)]


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


def general(path: tuple[str, ...]) -> str:
    """A place in the config as the page writes it."""
    return ".".join([path[0], "<name>", *path[2:]] if path[0] in NAMED else path)


@pytest.fixture(scope="module")
def changed() -> dict[str, set[Any]]:
    """Key -> values: all that config/released.yaml, laid over the paper's, changes but the name."""
    paper, overlay = (
        yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())
        for name in ("paper", "released")
    )
    both = copy.deepcopy(paper)
    update_config(both, overlay)
    before = dict(leaves(load(paper).model_dump()))
    found: dict[str, set[Any]] = {}
    for path, value in leaves(load(both).model_dump()):
        if path != ("name",) and (path not in before or before[path] != value):
            found.setdefault(general(path), set()).add(value)
    return found


def test_every_point_has_its_row_in_order() -> None:
    assert [row["#"] for row in ROWS] == [str(i + 1) for i in range(len(ROWS))]
    assert len(ROWS) >= 37


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["#"])
def test_no_cell_is_empty_and_the_key_column_holds_keys_or_says_why_not(
    row: dict[str, str],
) -> None:
    assert all(row.values())
    cell = row["config key"]
    assert cell in NO_KEY or re.sub(r"[, ]", "", KEY.sub("", cell)) == "", cell


@pytest.mark.parametrize("key", sorted({key for _, key, _ in KEYS}))
def test_a_key_exists(key: str) -> None:
    assert exists(key)


def test_other_keys_do_not_exist() -> None:
    for key in ("models.<name>.noise", "models.PRDiT-4L.noise_std", "noise_std", "<name>"):
        assert not exists(key)


def test_the_page_tells_what_the_overlay_changes_and_no_more(changed: dict[str, set[Any]]) -> None:
    told: dict[str, set[Any]] = {}
    for _, key, value in KEYS:
        if value:
            read = yaml.safe_load(value)
            told.setdefault(key, set()).update(read if isinstance(read, list) else [read])
    assert told == changed
