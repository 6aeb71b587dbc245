"""Changes of a checkout, one at a time: of config values, of statements, and of looks alone."""

from __future__ import annotations

import ast
import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

from prdit.config.file import load
from prdit.errors import UserError


@dataclass(frozen=True)
class Mutation:
    """New content of one file."""

    kind: str
    file: str
    """Relative to the repository."""
    what: str
    """In words: what was there, and what is there now."""
    text: str
    only: frozenset[str] | None = None
    """Rules that may run again; None: whichever."""


class Refused(Exception):
    """A change that the project refuses, or that cannot be made."""


@contextmanager
def applied(mutation: Mutation, folder: Path) -> Iterator[None]:
    """The change in a checkout; undone after, times of the file included."""
    path = folder / mutation.file
    before, times = path.read_bytes(), path.stat()
    path.write_text(mutation.text, encoding="utf-8")
    try:
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


class Leaf(NamedTuple):
    """One value of a config."""

    path: tuple[str | int, ...]
    value: bool | int | float | str
    choices: tuple[Any, ...]
    """What else it may be, if the config's type lists that."""


def leaves(value: Any, path: tuple[str | int, ...] = (), annotation: Any = None) -> Iterator[Leaf]:
    """All values of a config that are not null, defaults included."""
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from leaves(getattr(value, name), (*path, name), field.annotation)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from leaves(one, (*path, key))
    elif isinstance(value, list | tuple):
        for i, one in enumerate(value):
            yield from leaves(one, (*path, i))
    elif value is not None:
        yield Leaf(path, value, listed(annotation))


def listed(annotation: Any) -> tuple[Any, ...]:
    """The values that a type lists."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return tuple(one for part in get_args(annotation) for one in listed(part))
    return ()


def others(leaf: Leaf, names: list[list[str]]) -> list[Any]:
    """What a value may be changed to: little, so that most stays valid.

    Args:
        names: groups of names that stand for one another, such as those of all samplers.
    """
    value = leaf.value
    if leaf.choices:
        return [one for one in leaf.choices if one != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value * 1.1, value * 0.9, value + 1] if value else [0.1]
    same = [one for group in names if value in group for one in group if one != value]
    return same or ([f"{value} again"] if " " not in value else [f"{value}, again"])


def config_mutations(text: str, file: str, rng: Random) -> Iterator[Mutation | Refused]:
    """Every value of a config once, in random order; Refused where no other is valid.

    `name` is left out: it says where results lie, so that another one is another run.
    """
    config = load(yaml.safe_load(text))
    told = config.model_dump(mode="json")
    names = [list(config.models), list(config.samplers), list(config.datasets)]
    places = [one for one in leaves(config) if one.path != ("name",) and len(one.choices) != 1]
    for leaf in rng.sample(places, len(places)):
        yield config_mutation(told, leaf, others(leaf, names), file)


def config_mutation(
    told: dict[str, Any], leaf: Leaf, values: list[Any], file: str
) -> Mutation | Refused:
    """The config with the first of the values that it takes."""
    where = ".".join(map(str, leaf.path))
    for value in values:
        new = copy.deepcopy(told)
        place: Any = new
        for key in leaf.path[:-1]:
            place = place[key]
        place[leaf.path[-1]] = value
        try:
            load(new)
        except (UserError, ValueError):
            continue
        text = yaml.safe_dump(new, sort_keys=False)
        return Mutation("config", file, f"{where}: {leaf.value!r} -> {value!r}", text)
    return Refused(f"{where}: no other value is valid")


ARITHMETIC: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Sub,
    ast.Mod: ast.Add,
    ast.Pow: ast.Mult,
}
ONES = (ast.Lt, ast.Gt, ast.Eq, ast.Is, ast.In)
OTHERS = (ast.LtE, ast.GtE, ast.NotEq, ast.IsNot, ast.NotIn)
COMPARISON = dict(zip((*ONES, *OTHERS), (*OTHERS, *ONES), strict=True))
TYPES = ("annotation", "returns")
"""Parts of a statement that nothing computes with."""


def places_of(node: ast.AST) -> Iterator[ast.AST]:
    """Numbers, comparisons and arithmetic at and below a node, but for those in types."""
    if _is_number(node) or isinstance(node, ast.Compare) or _is_arithmetic(node):
        yield node
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if name not in TYPES and isinstance(child, ast.AST):
                yield from places_of(child)


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _is_arithmetic(node: ast.AST) -> bool:
    """Not of paths and texts, as far as one sees that."""
    if not isinstance(node, ast.BinOp) or type(node.op) not in ARITHMETIC:
        return False
    return not any(
        isinstance(one, ast.JoinedStr) or isinstance(getattr(one, "value", None), str)
        for one in (node.left, node.right)
    )


def change(node: Any) -> None:
    """Another number or operator in place."""
    if isinstance(node, ast.Constant):
        value: Any = node.value
        node.value = value + 1 if isinstance(value, int) else value * 1.1 or 0.1
    elif isinstance(node, ast.Compare):
        node.ops[0] = COMPARISON[type(node.ops[0])]()
    else:
        node.op = ARITHMETIC[type(node.op)]()


def source_mutation(text: str, file: str, kind: str, rng: Random) -> Mutation:
    """One statement of a module changed. Raises Refused if it has none to change."""
    tree = ast.parse(text)
    places: list[Any] = list(places_of(tree))
    if not places:
        raise Refused(f"{file}: no number, comparison or arithmetic")
    node = rng.choice(places)
    before = ast.unparse(node)
    change(node)
    what = f"line {node.lineno}: {before} -> {ast.unparse(node)}"
    return Mutation(kind, file, what, ast.unparse(tree) + "\n")


def cosmetic_mutation(text: str, file: str, kind: str, rng: Random) -> Mutation:
    """A comment, blank lines, a docstring or the formatting of a module changed."""
    tree, lines = ast.parse(text), text.splitlines(keepends=True)
    plain = [one for one in tree.body[1:] if not getattr(one, "decorator_list", None)]
    line = rng.choice(plain).lineno - 1 if plain else len(lines)
    way = rng.choice(["comment", "blank lines", "docstring", "formatting"])
    if way == "formatting":
        return Mutation(kind, file, way, ast.unparse(tree) + "\n")
    if way == "docstring":
        lines[0] = lines[0].replace('"""', '"""Again: ', 1)  # every module begins with one
    else:
        lines.insert(line, "# Another comment.\n" if way == "comment" else "\n\n\n")
    return Mutation(kind, file, way, "".join(lines))


APART = (
    ("prdit/report/templates/index.html", ">Scoreboard</h2>", ">Scores</h2>", ("site",)),
    ("prdit/machine/journal.py", "smoothing=0.05", "smoothing=0.06", ()),
    ("prdit/machine/journal.py", "loss', 0):.4f}", "loss', 0):.5f}", ()),
    ("prdit/cli.py", "by hand:\n", "by hand, one at a time:\n", ()),
    ("prdit/report/templates/viewer.html", "</title>", " (viewer)</title>", ("site",)),
)
"""Bars, log lines, help and pages: file, what is there, what comes there, rules that may run."""


def apart_mutations(folder: Path, config: str, flipped: dict[str, Any]) -> list[Mutation]:
    """Edits that no number of any table depends on.

    Args:
        config: file of the config.
        flipped: the config with another value of a key that the report alone shows.
    """
    shown = yaml.safe_dump(flipped, sort_keys=False)
    found = []
    for file, old, new, rules in APART:
        text = (folder / file).read_text(encoding="utf-8")
        if old not in text:
            raise ValueError(f"{file} has no {old!r} any more; mend mutations.APART")
        what = f"{old.strip()} -> {new.strip()}"
        found.append(Mutation("apart", file, what, text.replace(old, new, 1), frozenset(rules)))
    what = "local_downloads flipped"
    return [*found, Mutation("apart", config, what, shown, frozenset({"site", "provenance"}))]
