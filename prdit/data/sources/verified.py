"""Raw scans of one shard, and a list of them that is written last, when all are there and whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prdit.errors import UserError
from prdit.files import read_json, sha256, taken_from, write_json


@dataclass(frozen=True)
class RawScan:
    """One scan as its source left it."""

    scan_id: str
    """SeriesInstanceUID, or where files have none, a name of its own."""
    path: Path
    """Folder of a DICOM series, or one file."""
    patient_id: str = ""
    """Empty where the scan tells it itself."""


def write_verified(path: Path, scans: Iterable[RawScan]) -> None:
    """Record that a shard is complete, with what every scan consists of.

    Raises:
        UserError: two scans bear one id.
    """
    told: dict[str, Any] = {}
    for scan in scans:
        where = _relative(scan.path, path.parent)
        if scan.scan_id in told:
            raise UserError(
                f"scan {scan.scan_id} is there twice, in {told[scan.scan_id]['path']} and in"
                f" {where}; put all files of a series into one folder, and no copy into another"
            )
        about = {"path": where, "patient_id": scan.patient_id}
        told[scan.scan_id] = about | _content(scan.path)
    write_json(path, {"scans": told})


def read_verified(path: Path) -> list[tuple[RawScan, dict[str, Any]]]:
    """The scans of a shard, in order of their ids, each with the content it was verified to have.

    Raises:
        UserError: the record is damaged.
    """
    scans = read_json(path, "scans")["scans"]
    with taken_from(path):
        return [
            (
                RawScan(str(scan_id), path.parent / told["path"], str(told["patient_id"])),
                {key: told[key] for key in ("files", "bytes", "sha256")},
            )
            for scan_id, told in sorted(scans.items())
        ]


def check_unchanged(scan: RawScan, verified: dict[str, Any]) -> None:
    """Raise UserError unless a scan is what it was when it was verified, byte by byte."""
    found = _content(scan.path) if scan.path.exists() else {"files": 0}
    if found != verified:
        detail = next(
            f"{k} {found.get(k)}, then {v}" for k, v in verified.items() if found.get(k) != v
        )
        raise UserError(
            f"scan {scan.scan_id} in {scan.path} is not what it was when it was verified"
            f" ({detail}); delete the verified.json of its shard and run again to verify it anew"
        )


def _content(path: Path) -> dict[str, Any]:
    """Number of files, bytes, and a digest over names and content of all files of a scan."""
    files = [path] if path.is_file() else files_of(path)
    digests = [(file.name, sha256(file)) for file in files]
    return {
        "files": len(files),
        "bytes": sum(file.stat().st_size for file in files),
        "sha256": hashlib.sha256(repr(digests).encode()).hexdigest(),
    }


def files_of(folder: Path) -> list[Path]:
    """The files that lie directly in a folder, hidden ones left out, by name."""
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def _relative(path: Path, folder: Path) -> str:
    """A path as seen from a folder if it lies within, else as it is from the root."""
    if path.is_relative_to(folder):
        return path.relative_to(folder).as_posix()
    return os.path.abspath(path)
