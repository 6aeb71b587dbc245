"""Every key of the config on one page, made from the models, so that it cannot be out of date."""

from __future__ import annotations

import json
from typing import Any

from prdit.config import Config

HEAD = """\
# Every key of the config

Made by `python -m prdit schema --markdown` from the models in `prdit/config/`; a test holds it to
them. Start with [config/README.md](../config/README.md), which says what the parts are for.
"""
RANGES = {
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "maximum": "to {}",
    "exclusiveMaximum": "below {}",
    "minItems": "at least {}",
}


def markdown() -> str:
    """A section for the config and each kind of entry, with a table of its keys."""
    schema = Config.model_json_schema()
    sections = [_section("The config", schema)]
    for name in _in_order(schema):
        sections.append(_section(name, schema["$defs"][name]))
    return "\n".join([HEAD, *sections])


def _section(name: str, entry: dict[str, Any]) -> str:
    about = [] if name == "The config" else [" ".join(entry.get("description", "").split()), ""]
    lines = [f"## {name}", "", *about]
    if "properties" not in entry:
        return "\n".join(lines)
    lines += ["| key | what it takes | default | meaning |", "| --- | --- | --- | --- |"]
    needed = entry.get("required", [])
    for key, value in entry["properties"].items():
        default = "needed" if key in needed else _default(value)
        cells = (f"`{key}`", _kind(value), default, value.get("description", ""))
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join([*lines, ""])


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    if isinstance(default, dict):
        return "as there" if default else "none"
    return f"`{json.dumps(default)}`"


def _kind(value: dict[str, Any]) -> str:
    """What a key takes, in words; an entry by the name of its section."""
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in value:
            return " or ".join(dict.fromkeys(_kind(one) for one in value[several]))
    if "enum" in value or "const" in value:
        return ", ".join(f"`{json.dumps(one)}`" for one in value.get("enum", [value.get("const")]))
    ranges = [text.format(value[key]) for key, text in RANGES.items() if key in value]
    inner: Any = value.get("additionalProperties") or next(
        iter(value.get("patternProperties", {}).values()), None
    )
    if value.get("type") == "object":
        named = isinstance(inner, dict)
        words = f"names, each with {_kind(inner)}" if named else "names and values"
    elif value.get("type") == "array":
        words = f"list of {_kind(value.get('items', {}))}"
    else:
        words = value.get("type", "anything")
    return ", ".join([words, *ranges])


def _in_order(schema: dict[str, Any]) -> list[str]:
    """Entries in the order in which the config and they themselves name them."""
    found: list[str] = []
    waiting = [schema["properties"]]
    while waiting:
        text = json.dumps(waiting.pop(0))
        names = [part.split('"')[0] for part in text.split("#/$defs/")[1:]]
        new = [name for name in dict.fromkeys(names) if name not in found]
        found += new
        waiting += [schema["$defs"][name].get("properties", {}) for name in new]
    return found
