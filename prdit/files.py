"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from prdit.errors import UserError


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name once the block ends without an error.

    Raises:
        UserError: the folder cannot be written to, or its disk is full.
    """
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if error.filename is not None and str(path.parent) not in str(error.filename):
            raise  # some other file's trouble
        reason = error.strerror or str(error)
        raise UserError(f"cannot write {path}: {reason}; free or choose another folder") from None
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    with suppress(OSError):  # its folder cannot be made or written to: there is no partial file
        path.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Raise UserError unless `folder` can be written to, or be made where it is missing."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise UserError(
            f"results go to {folder}, but {there} cannot be written to; make it writable or run"
            " from a copy of the repository elsewhere"
        )


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys."""
    with atomic(path) as partial:
        partial.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises UserError if it is missing or no JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}; make it again") from None


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
