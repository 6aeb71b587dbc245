"""Which code a result depends on: a digest that edits of comments and formatting leave alone."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

from prdit.errors import UserError

PACKAGE = Path(__file__).parent
SCIENCE = ("models", "diffusion", "generators", "training", "metrics", "critic", "data", "report")
"""Folders that count. What lies beside them (command line, config, files) hands data over; it
takes no part in what is computed."""


@cache
def code_digest(*modules: str) -> str:
    """Digest of modules and of all they import inside the science folders.

    Args:
        modules: dotted names, such as "prdit.training.run".
    """
    digest = hashlib.sha256()
    for module in sorted(closure(modules)):
        digest.update(f"{module}\n{normalised(source(module))}\n".encode())
    return digest.hexdigest()[:16]


def files_digest(folder: Path) -> str:
    """Digest of what lies in a folder that code reads: pages, pictures."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def closure(modules: tuple[str, ...]) -> set[str]:
    """The modules and, transitively, what they import from the science folders."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += imports(parsed(source(module)))
    return found


def parsed(path: Path) -> ast.Module:
    """A module's source, taken apart. Raises UserError if it is no Python."""
    try:
        return ast.parse(path.read_text())
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}") from None


def imports(tree: ast.Module) -> set[str]:
    """Science modules imported anywhere in a module, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if _is_science(name)}


def _is_science(name: str) -> bool:
    parts = name.split(".")
    return parts[0] == "prdit" and len(parts) > 2 and parts[1] in SCIENCE and source(name).is_file()


def source(module: str) -> Path:
    """The file of a module of this package."""
    return PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")


def normalised(path: Path) -> str:
    """Source without comments, docstrings and formatting."""
    tree = parsed(path)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [item for item in body if not _is_text(item)]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def _is_text(node: ast.AST) -> bool:
    """A bare string: a docstring, of a module, function, class or attribute."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
