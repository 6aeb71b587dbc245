"""What lies below a folder of a user's own scans: names alone, so that a plan can count them."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

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
    for place, below, files in os.walk(folder, followlinks=True):
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
    return sorted(path.relative_to(folder).as_posix() for path in found)


def stamp(unit: Path) -> str:
    """Names, sizes and times of the files of a unit, as Snakemake tells changed inputs."""
    files = files_of(unit) if unit.is_dir() else [unit]
    told = ((file.name, file.stat()) for file in files)
    return repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in told])
