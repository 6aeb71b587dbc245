"""The config as a user writes it: read, checked, and every mistake told in one plain sentence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import Field, ValidationError

from prdit.config import Config, suggest
from prdit.errors import UserError


def load(raw: Mapping[str, Any]) -> Config:
    """The typed config of a mapping as read from YAML.

    Raises:
        UserError: one sentence per mistake, naming the key, what is wrong and what to write.
    """
    try:
        return Config.model_validate(dict(raw))
    except ValidationError as error:
        raise UserError("; ".join(_sentence(item) for item in error.errors())) from None


def load_file(path: Path) -> Config:
    """The typed config of one YAML file. Raises UserError as `load` does."""
    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"cannot read the config {path}: {error}") from None
    if not isinstance(raw, dict):
        raise UserError(f"the config {path} is empty or no mapping of keys to values")
    return load(raw)


def _sentence(error: Any) -> str:
    path = [str(part) for part in error["loc"]]
    where = ".".join(_without_tags(path)) or "the config"
    match error["type"]:
        case "extra_forbidden":
            known = _keys_at(path[:-1])
            return f"config key '{where}' is unknown{suggest(path[-1], known)}"
        case "missing":
            return f"config key '{where}' is missing; add it"
        case "value_error":
            message = str(error["ctx"]["error"])
            return f"config: {message}" if where == "the config" else f"config, {where}: {message}"
        case _:
            return f"config key '{where}' is {error['input']!r}: {error['msg'].lower()}"


def _without_tags(path: list[str]) -> list[str]:
    """Pydantic puts the tag of a union ('phantom') into the path; users do not write it there."""
    return [
        part
        for before, part in zip(["", *path], path, strict=False)
        if not (before == "source" and part in ("phantom", "idc"))
    ]


def _keys_at(path: list[str]) -> list[str]:
    """The keys that the config knows at a place, found by walking the models' annotations."""
    node: Any = Config
    for part in path:
        node = _step(node, part)
    return list(node.model_fields) if hasattr(node, "model_fields") else []


def _step(node: Any, part: str) -> Any:
    if hasattr(node, "model_fields"):
        node = node.model_fields[part].annotation if part in node.model_fields else None
    else:  # dict[Name, X], or a union whose tag is `part`
        options = [a for a in get_args(node) if hasattr(a, "model_fields")]
        tagged = [
            a for a in options if part in get_args(a.model_fields.get("kind", Field()).annotation)
        ]
        node = (tagged or options or [None])[0]
    options = [a for a in get_args(node) if hasattr(a, "model_fields")]
    return options[0] if type(None) in get_args(node) and options else node
