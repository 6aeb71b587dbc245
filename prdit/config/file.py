"""The config as a user writes it: read, checked, and every mistake told in one plain sentence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from prdit.config import Config
from prdit.config.checks import suggest
from prdit.config.entry import laid_over
from prdit.errors import UserError


def load(raw: Mapping[str, Any]) -> Config:
    """The typed config of a mapping as read from YAML.

    Raises:
        UserError: one sentence per mistake, naming the key, what is wrong and what to write.
    """
    try:
        return Config.model_validate(_without_nothing(raw))
    except ValidationError as error:
        raise UserError("; ".join(_sentence(item) for item in error.errors())) from None


def load_file(*paths: Path, **changes: Any) -> Config:
    """The typed config of YAML files, each laid over those before, and of `changes` to it.

    Raises UserError as `load` does.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        try:
            raw = yaml.safe_load(path.read_text())
        except (OSError, ValueError, yaml.YAMLError) as error:
            why = " ".join(str(error).split())
            raise UserError(f"cannot read the config {path}: {why}") from None
        if not isinstance(raw, dict):
            raise UserError(f"the config {path} is empty or no mapping of keys to values")
        merged = laid_over(merged, raw)
    return load(laid_over(merged, changes))


def _without_nothing(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The same without named entries that are null: a config laid over another removes them so.

    A data set that is removed is removed wherever it is named.
    """
    kept, without = dict(raw), set()
    for group in ("datasets", "models", "samplers"):
        if isinstance(entries := raw.get(group), Mapping):
            kept[group] = {name: entry for name, entry in entries.items() if entry is not None}
            if group == "datasets":
                without = {*entries} - {*kept[group]}
    models = raw.get("models")
    gone = (
        {name for name, one in models.items() if one is None}
        if isinstance(models, Mapping)
        else set()
    )
    for group in ("models", "tables", "figures"):
        if isinstance(entries := kept.get(group), Mapping):
            kept[group] = {name: _off(entry, without, gone) for name, entry in entries.items()}
    return kept


def _off(entry: Any, datasets: set[str], models: set[str]) -> Any:
    """A model, table or figure without these data sets, and without rows of these models.

    Rows that are null are left out too. Null if no data set is left.
    """
    if not isinstance(entry, Mapping):
        return entry
    off = dict(entry)
    if entry.get("training", ...) is None:  # of a model whose weights an overlay gives
        del off["training"]
    if isinstance(mine := entry.get("per_dataset"), Mapping):
        off["per_dataset"] = {name: value for name, value in mine.items() if name not in datasets}
    rows = entry.get("rows")
    if isinstance(rows, list):
        off["rows"] = [name for name in rows if name not in models]
    elif isinstance(rows, Mapping):
        off["rows"] = {
            label: row
            for label, row in rows.items()
            if row is not None and not (isinstance(row, Mapping) and row.get("model") in models)
        }
    if datasets and isinstance(entry.get("datasets"), list):
        off["datasets"] = [name for name in entry["datasets"] if name not in datasets]
        return off if off["datasets"] or not entry["datasets"] else None
    return off


SENTENCES = {
    "string_pattern_mismatch": "write letters, digits, '.', '_' and '-', without spaces",
    "too_short": "write one entry at least",
    "union_tag_invalid": "write a `kind` (or `generator`) that exists",
    "union_tag_not_found": "say which `kind` it is",
    "model_type": "write keys and values, indented below it",
    "none_required": "leave it out: this generator starts from nothing",
    "dict_type": "write names and what they stand for, indented below it",
}
"""Errors that pydantic words for programmers."""


TAGS = ("labelled",)
"""Alternatives that pydantic names in paths, and users do not know."""


def _sentence(error: Any) -> str:
    path = [str(part) for part in error["loc"] if part not in TAGS]
    unknown = path[-1] if error["type"] == "extra_forbidden" else None
    written, known = _place(path, unknown)
    where = ".".join(written) or "the config"
    match error["type"]:
        case "extra_forbidden":
            return f"config key '{where}' is unknown{suggest(written[-1], known)}"
        case "missing":
            return f"config key '{where}' is missing; add it"
        case "value_error":
            message = str(error["ctx"]["error"])
            return f"config: {message}" if where == "the config" else f"config, {where}: {message}"
        case _:
            told = SENTENCES.get(error["type"]) or error["msg"][0].lower() + error["msg"][1:]
            return f"config key '{where}' is {error['input']!r:.80}: {told}"


def _place(path: list[str], unknown: str | None) -> tuple[list[str], set[str]]:
    """A path as a user would write it, and the keys that are known where its last part stands.

    Pydantic also puts the alternative it has chosen ("phantom") into a path; the schema has no key
    of that name, which tells it apart.
    """
    schema = Config.model_json_schema()
    nodes, written = _alternatives(schema, schema), []
    known: set[str] = set()
    for part in path:
        known = {key for node in nodes for key in node.get("properties", {})}
        inner = [child for node in nodes for child in _children(node, part)]
        if inner:
            nodes = [one for child in inner for one in _alternatives(schema, child)]
        if inner or part is unknown:
            written.append(part)
    return written, known


def _children(node: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Schemas of what a key (or the index of a list) of a node may hold."""
    if key in node.get("properties", {}):
        return [node["properties"][key]]
    named = node.get("additionalProperties") or next(
        iter(node.get("patternProperties", {}).values()), None
    )
    listed = node.get("items") if key.isdigit() else None
    return [child for child in (named, listed) if isinstance(child, dict)]


def _alternatives(schema: dict[str, Any], node: dict[str, Any]) -> list[dict[str, Any]]:
    """A node with its references followed, taken apart where it is one of several."""
    if "$ref" in node:
        return _alternatives(schema, schema["$defs"][node["$ref"].rsplit("/", 1)[-1]])
    several = node.get("anyOf") or node.get("oneOf")
    if several is None:
        return [node]
    return [found for one in several for found in _alternatives(schema, one)]
