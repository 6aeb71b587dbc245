"""Files that appear whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from prdit.errors import UserError

if TYPE_CHECKING:
    import numpy as np

UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    AttributeError,
    BadZipFile,
    zlib.error,
)
"""What a file that is no .npz may raise."""


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
        sync(partial)
        os.replace(partial, path)
        sync(path.parent)
    except OSError as error:
        if error.filename is not None and str(path.parent) not in str(error.filename):
            raise  # some other file's trouble
        reason = error.strerror or str(error)
        raise UserError(f"cannot write {path}: {reason}; free or choose another folder") from None
    finally:
        _remove(partial)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its name, and place, once the block ends well."""
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(path, ignore_errors=True)
        os.replace(partial, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write {path}: {reason}; free or choose another folder") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def sync(path: Path) -> None:
    """To the disk itself: a name must not survive a power cut that its content does not."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _remove(path: Path) -> None:
    with suppress(OSError):  # its folder cannot be made or written to: there is no partial file
        path.unlink(missing_ok=True)


def nearest(folder: Path) -> Path:
    """The folder, or the first above it that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def is_writable(folder: Path) -> bool:
    """Whether `folder` can be written to, or be made where it is missing."""
    there = nearest(folder)
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def check_writable(folder: Path) -> None:
    """Raise UserError unless `folder` can be written to, or be made where it is missing."""
    if not is_writable(folder):
        raise UserError(
            f"results go to {folder}, but {nearest(folder)} cannot be written to; make it writable"
            " or run from a copy of the repository elsewhere"
        )


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys."""
    with atomic(path) as partial:
        partial.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """A JSON file that holds a mapping with these keys at least.

    Raises:
        UserError: missing, no JSON, not finite, or something else.
    """
    try:
        found = json.loads(path.read_text(), parse_constant=_refuse)
    except (OSError, ValueError) as error:
        raise damaged(path, str(error)) from None
    missing = [key for key in keys if not isinstance(found, dict) or key not in found]
    if missing or not isinstance(found, dict):
        raise damaged(path, f"it holds no {', '.join(missing) or 'mapping'}")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a CSV file in UTF-8, which `read_csv` reads; None becomes an empty cell."""
    with atomic(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)


def read_csv(path: Path, columns: Sequence[str], mend: str = "") -> list[dict[str, str]]:
    """The rows of a CSV file with exactly these columns. Raises UserError if it is not that.

    Args:
        mend: what to do about a file that no step makes.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            rows, found = list(table), table.fieldnames
    except (OSError, ValueError, csv.Error) as error:
        raise damaged(path, str(error), mend) from None
    if list(found or []) != list(columns):
        raise damaged(path, f"its columns are not {', '.join(columns)[:200]}", mend)
    if any(None in row or None in row.values() for row in rows):
        raise damaged(path, "a line is cut short or too long", mend)
    return rows


def read_npz(path: Path, *keys: str) -> dict[str, np.ndarray]:
    """These arrays of an .npz file; nothing in it is unpickled. Raises UserError otherwise."""
    import numpy as np  # not where the workflow is planned

    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in keys}
    except UNREADABLE as error:
        raise damaged(path, str(error)) from None


@contextmanager
def taken_from(path: Path) -> Iterator[None]:
    """Raise UserError where what a file holds turns out to be of another kind than is due."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, f"its content is not what is due ({error})") from None


def damaged(path: Path, why: str, mend: str = "") -> UserError:
    """What to say of a file that is not there or not whole.

    Args:
        mend: what to do about it, unless a step of the workflow makes it.
    """
    if not path.is_file():
        mend = mend or "run the workflow to make it"
        return UserError(f"cannot use {path}: there is no such file; {mend}")
    mend = mend or "delete it and run the same command again"
    return UserError(f"cannot use {path}: {' '.join(why.split())}; {mend}")


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes. Raises UserError if it cannot be read."""
    return _digest(path, "sha256")


def md5(path: Path) -> str:
    """Hexadecimal MD5 of a file's bytes. Raises UserError if it cannot be read."""
    return _digest(path, "md5")


def _digest(path: Path, kind: str) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, kind).hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
