"""Whose scan is whose, where the scans do not tell: a CSV with a row per scan."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from prdit.data.sources.listing import SUFFIXES
from prdit.data.sources.verified import RawScan
from prdit.errors import UserError

METADATA = "CT_Scan_Metadata_Complete_35747.csv"
"""RAD-ChestCT's table of all scans; it tells more than is looked at here."""
SCAN, PATIENT = "NoteAcc_DEID", "MRN_DEID"
"""Its columns for the scan and for the patient."""


def read_patients(path: Path, scan: str, patient: str) -> dict[str, str]:
    """Patient of each scan, which may be written with or without the suffix of its file.

    Args:
        scan: column with the scan's name.
        patient: column with the patient's.

    Raises:
        UserError: no such file or columns, or one scan has two patients.
    """
    found: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if not {scan, patient} <= set(rows.fieldnames or ()):
                raise UserError(
                    f"{path} has no columns {scan} and {patient}; it has"
                    f" {', '.join(rows.fieldnames or ())[:200]}"
                )
            for row in rows:
                name, whose = without_suffix(row[scan] or ""), row[patient] or ""
                if found.setdefault(name, whose) != whose:
                    raise UserError(f"{path} gives scan {name} two patients; correct it")
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"cannot read the table of patients {path}: {error}") from None
    return found


def whose(scan: RawScan, patients: Mapping[str, str], where: object) -> str:
    """The patient of a scan, which the table calls by its id, its path or its name of file.

    Raises:
        UserError: the table `where` does not know it.
    """
    for name in (scan.scan_id, scan.patient_id, without_suffix(scan.path.name)):
        if patients.get(name):
            return patients[name]
    raise UserError(
        f"scan {scan.scan_id} has no patient in {where}; add it, since scans of one patient must"
        " not lie on both sides of the split"
    )


def without_suffix(name: str) -> str:
    """A file's name without the suffix that tells its format."""
    for suffix in sum(SUFFIXES.values(), ()):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name
