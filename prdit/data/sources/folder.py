"""A user's own scans, where they are: looked through, listed, and left alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from prdit.data.dicom import series_in
from prdit.data.sources.patients import read_patients, whose, without_suffix
from prdit.data.sources.verified import RawScan, write_verified
from prdit.errors import UserError
from prdit.recipes import FolderRecipe

LONGEST = 60
"""Letters of a name; each may have four bytes, and a file's name 255."""


def run(recipe: FolderRecipe, *, verified: Path) -> None:
    """List the scans of some folders or files, none of which is copied or changed.

    Raises:
        UserError: a folder or file is gone, two scans bear one id, or a patient is unknown.
    """
    source = recipe.source
    look = _in_folder if source.kind == "dicom" else _in_file
    folder = Path(source.folder).expanduser()
    scans = [scan for unit in recipe.units for scan in look(folder, unit)]
    table = source.patients
    if table is not None:
        patients = read_patients(Path(table.file), table.scan, table.patient)
        scans = [replace(scan, patient_id=whose(scan, patients, table.file)) for scan in scans]
    write_verified(verified, scans)


def _in_folder(folder: Path, unit: str) -> Iterator[RawScan]:
    """The CT series of a folder; a folder whose files are all broken is a scan that will tell."""
    series, broken = series_in(folder / unit)
    for uid, patient in sorted(series.items()):
        yield RawScan(uid, folder / unit, patient)
    if not series and broken:
        yield RawScan(_as_name(unit), folder / unit)
    elif not series:
        print(f"{folder / unit} holds no CT series")


def _in_file(folder: Path, unit: str) -> Iterator[RawScan]:
    if not (folder / unit).is_file():
        raise UserError(f"there is no file {folder / unit} any more; run the same command again")
    name = without_suffix(unit)
    yield RawScan(_as_name(name), folder / unit, name)


def _as_name(path: str) -> str:
    """A path within the folder as a name that files can bear; a changed one gets a digest of it."""
    name = re.sub(r"[^\w.-]+", "_", path).strip("._-")[:LONGEST]
    if name == path:
        return name
    return f"{name}-{hashlib.sha256(path.encode()).hexdigest()[:6]}".lstrip("-")
