"""What lies below a folder of a user's own scans: names alone, so that a plan can count them."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import NoReturn

from prdit.data.sources.verified import files_of
from prdit.errors import UserError

SUFFIXES = {"nifti": (".nii", ".nii.gz", ".mha", ".nrrd"), "npz": (".npz",)}
"""Of files that are scans, by kind of source."""


@cache
def units(folder: Path, kind: str) -> list[str]:
    """What can be read on its own, by name, relative to the folder; links are followed.

    For `dicom`, folders that hold files; for `nifti` and `npz`, files of the kind.

    Raises:
        UserError: no such folder, or nothing of the kind in it.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder} to take scans from; correct source.folder")
    found: list[Path] = []
    visited: set[str] = set()
    for place, below, files in os.walk(folder, followlinks=True, onerror=_unreadable):
        real = os.path.realpath(place)
        below[:] = [] if real in visited else sorted(n for n in below if not n.startswith("."))
        shown = [] if real in visited else [name for name in files if not name.startswith(".")]
        visited.add(real)
        if kind == "dicom":
            found += [Path(place)] if shown else []
        else:
            found += [Path(place, n) for n in shown if n.lower().endswith(SUFFIXES[kind])]
    if not found:
        what = "files" if kind == "dicom" else " or ".join(SUFFIXES[kind]) + " files"
        raise UserError(f"the folder {folder} holds no {what}, so no scans to take from it")
    names = sorted(path.relative_to(folder).as_posix() for path in found)
    for name in names:
        if not name.isprintable():  # nor any that is not UTF-8
            raise UserError(
                f"{str(folder)!r} holds a name that cannot be printed: {name!r}; rename it"
            )
    return names


def _unreadable(error: OSError) -> NoReturn:
    raise UserError(
        f"cannot look into {error.filename}: {error.strerror}; scans in it would be lost in"
        " silence: make it readable, or move it away"
    )


@cache
def stamp(unit: Path) -> str:
    """Names, sizes and times of the files of a unit, as Snakemake tells changed inputs.

    Raises:
        UserError: a file is a link to nothing, or its folder cannot be read.
    """
    try:
        files = files_of(unit) if unit.is_dir() else [unit]
        told = ((file.name, file.stat()) for file in files)
        return repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in told])
    except OSError as error:
        raise UserError(
            f"cannot see {error.filename}: {error.strerror}; mend it or take it away from the scans"
        ) from None
