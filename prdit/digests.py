"""Which code a result depends on: a digest of the definitions that its step can reach.

Comments, docstrings and formatting change nothing, nor does what other steps alone use of a module.
"""

from __future__ import annotations

import ast
import hashlib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeGuard

from prdit.errors import UserError

PACKAGE = Path(__file__).parent
SCIENCE = ("models", "diffusion", "generators", "training", "metrics", "critic", "data", "report")
"""Folders that count. What lies beside them (command line, config, files) hands data over; it
takes no part in what is computed."""
LOOSE = ""
"""Name of a module's statements that define nothing: they run whenever it is imported."""


class Name(NamedTuple):
    """Something that a science module defines; of no name: all of it."""

    module: str
    name: str | None


@cache
def code_digest(step: str, *generators: str) -> str:
    """Digest of what a step's `run` can reach in the science folders.

    Args:
        step: module of a step, such as "prdit.training.run".
        generators: modules that it loads by name, such as "prdit.generators.prdit".

    Raises:
        UserError: one of the modules is no Python.
    """
    digest = hashlib.sha256()
    for module, names in sorted(closure(step, *generators).items()):
        for name, node in definitions(module):
            if name in names:
                digest.update(f"{module}\n{ast.unparse(node)}\n".encode())
    return digest.hexdigest()[:16]


def files_digest(folder: Path) -> str:
    """Digest of what lies in a folder that code reads: pages, pictures."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def closure(step: str, *generators: str) -> dict[str, set[str]]:
    """Science modules, and what of each a step and generators can reach.

    What is called by name alone is reached once anything reached names it: what a generator's
    module defines, and methods of the protocol's classes (`Class.method`). So a training does not
    depend on how its model draws.
    """
    found: dict[str, set[str]] = {}
    named: set[str] = set()
    on_call = defaultdict[str, list[Name]](list)
    for one in generators:
        for defined, _ in definitions(one):
            on_call[defined].append(Name(one, defined))
    waiting = [Name(step, "run"), *(Name(one, LOOSE) for one in generators)]
    while waiting:
        module, name = waiting.pop()
        if module not in found:
            found[module] = set()
            waiting += [Name(module, LOOSE), *(Name(one, LOOSE) for one in imported(module))]
        known = {defined for defined, _ in definitions(module)}
        # A name that is not found may be made in ways not understood here: all of the module.
        for one in ({name} if name in known or name == LOOSE else known) - found[module]:
            found[module].add(one)
            waiting += uses(module, one)
            for method in (other for other in known if other.startswith(f"{one}.")):
                on_call[method.removeprefix(f"{one}.")].append(Name(module, method))
            named |= attributes(module, one)
        waiting += [one for called in named & on_call.keys() for one in on_call.pop(called)]
    return found


@cache
def attributes(module: str, name: str) -> set[str]:
    """Attributes that a definition of a module names, as such or in quotes."""
    nodes = [
        node for defined, top in definitions(module) if defined == name for node in ast.walk(top)
    ]
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)} | {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@cache
def uses(module: str, name: str) -> list[Name]:
    """What a definition of a module refers to, its own module's definitions among it."""
    nodes = [node for defined, node in definitions(module) if defined == name]
    known = {defined for defined, _ in definitions(module)} - {LOOSE}
    within = [node for top in nodes for node in ast.walk(top)]
    bound = aliases(module) | {alias: one for node in within for alias, one in bindings(node)}
    found = [one for node in nodes for _, one in bindings(node)]  # what is imported to be handed on
    found += [one for node in nodes for one in references(node, bound)]
    names = {node.id for node in within if isinstance(node, ast.Name)}
    return found + [Name(module, one) for one in names & known - set(bound)]


def references(node: ast.AST, bound: dict[str, Name]) -> Iterator[Name]:
    """Imported science that an expression or statement names: `module.name`, `name`, `module`."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        one = bound.get(node.value.id)
        if one is not None:
            yield Name(one.module, node.attr) if one.name is None else one
            return
    if isinstance(node, ast.Name) and node.id in bound:
        yield bound[node.id]
    for child in ast.iter_child_nodes(node):
        yield from references(child, bound)


def bindings(node: ast.AST) -> Iterator[tuple[str, Name]]:
    """The names that an import of science binds."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if is_science(alias.name):
                yield alias.asname or alias.name.split(".")[0], Name(alias.name, None)
    elif isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            if is_science(module := f"{node.module}.{alias.name}"):
                yield alias.asname or alias.name, Name(module, None)
            elif is_science(node.module):
                yield alias.asname or alias.name, Name(node.module, alias.name)


@cache
def aliases(module: str) -> dict[str, Name]:
    """What a module calls the science that it imports at its top."""
    return {alias: one for node in statements(source(module)) for alias, one in bindings(node)}


@cache
def imported(module: str) -> set[str]:
    """Science modules that a module imports, also inside functions."""
    tree = ast.Module(statements(source(module)), [])
    return {one.module for node in ast.walk(tree) for _, one in bindings(node)}


@cache
def definitions(module: str) -> list[tuple[str, ast.stmt]]:
    """What a module defines at its top, in order, each with its name; and what else it does."""
    found: list[tuple[str, ast.stmt]] = []
    for node in statements(source(module)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                one = ast.copy_location(type(node)(**{**vars(node), "names": [alias]}), node)
                found.append((alias.asname or alias.name.split(".")[0], one))
        elif isinstance(node, ast.ClassDef) and is_abstract(module, node):
            methods = [one for one in node.body if is_method(one)]
            rest = [one for one in node.body if one not in methods] or [ast.Pass()]
            found.append((node.name, ast.ClassDef(**{**vars(node), "body": rest})))
            found += [(f"{node.name}.{one.name}", one) for one in methods]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append((node.name, node))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = [one for target in targets for one in ast.walk(target)]
            found += [(one.id, node) for one in parts if isinstance(one, ast.Name)]
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            found.append((LOOSE, node))
    return found


def is_abstract(module: str, node: ast.ClassDef) -> bool:
    """Whether a class says or implements a protocol of ours: only our code calls its methods."""
    for base in node.bases:
        name = ast.unparse(base)
        there, defined = aliases(module).get(name, Name(module, name))
        tops = statements(source(there))
        its = [one for one in tops if isinstance(one, ast.ClassDef) and one.name == defined]
        if name != "ABC" and not any(is_abstract(there, one) for one in its):
            return False
    return bool(node.bases)


def is_method(node: ast.stmt) -> TypeGuard[ast.FunctionDef]:
    """A method that has to be called by its name."""
    return isinstance(node, ast.FunctionDef) and not node.name.startswith("__")


def statements(path: Path) -> list[ast.stmt]:
    """A file's statements, without docstrings. Raises UserError if it is no Python."""
    try:
        tree = ast.parse(path.read_text())
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}") from None
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [item for item in body if not is_text(item)]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return tree.body


def is_text(node: ast.AST) -> bool:
    """A bare string: a docstring, of a module, function, class or attribute."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def is_science(module: str) -> bool:
    """Whether a name is that of a module whose code counts."""
    parts = module.split(".")
    return (
        parts[0] == "prdit" and len(parts) > 2 and parts[1] in SCIENCE and source(module).is_file()
    )


def source(module: str) -> Path:
    """The file of a module of this package."""
    return PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
