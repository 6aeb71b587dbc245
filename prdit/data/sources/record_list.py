"""The list of a record's scans: one request for all jobs, and whose scan is whose."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from prdit.data.sources.patients import METADATA, PATIENT, SCAN, read_patients, whose
from prdit.data.sources.verified import RawScan
from prdit.data.sources.zenodo import Record
from prdit.errors import UserError
from prdit.files import write_csv
from prdit.recipes import RecordRecipe

COLUMNS = ("scan_id", "patient_id", "file", "bytes", "md5")


def run(recipe: RecordRecipe, *, manifest: Path) -> None:
    """List the .npz files of a record by name, each with its patient.

    Raises:
        UserError: not allowed, not as many scans as planned for, or a scan without a patient.
    """
    record = Record(recipe.url, recipe.record)
    print(f"{record.page}: {licence(record.about())}")
    files = record.files()
    scans = sorted(name for name in files if re.fullmatch(r"[A-Za-z0-9_-]+\.npz", name))
    if len(scans) != recipe.scans:
        raise UserError(
            f"{record.page} holds {len(scans)} scans, and jobs were planned for {recipe.scans};"
            f" write `scans: {len(scans)}` into the source of the data set"
        )
    if METADATA not in files:
        raise UserError(
            f"{record.page} has no {METADATA}, which tells the patients; correct source.record"
        )
    table = manifest.with_name(METADATA)
    record.download(METADATA, files[METADATA]["size"], _md5(files[METADATA]), table)
    patients = read_patients(table, SCAN, PATIENT)
    rows = []
    for name in scans:
        scan_id = name.removesuffix(".npz")
        patient = whose(RawScan(scan_id, Path(name)), patients, METADATA)
        rows.append((scan_id, patient, name, files[name]["size"], _md5(files[name])))
    write_csv(manifest, COLUMNS, rows)


def licence(about: dict[str, Any]) -> str:
    """What a record's page says of access and licence, in words."""
    try:
        access = about["access"]["status"]
        titles = [one.get("title", "") for one in about["metadata"].get("rights", [])]
        names = [next(iter(t.values()), "") if isinstance(t, dict) else str(t) for t in titles]
    except (AttributeError, KeyError, TypeError):
        return "access and licence are not stated"
    return f"access {access}, licence {', '.join(filter(None, names)) or 'not stated'}"


def _md5(entry: dict[str, str | int]) -> str:
    kind, _, value = str(entry["checksum"]).partition(":")
    if kind != "md5" or not re.fullmatch("[0-9a-f]{32}", value):
        raise UserError(f"a file of the record has the checksum {entry['checksum']!r}, no MD5")
    return value
