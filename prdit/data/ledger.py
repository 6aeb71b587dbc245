"""The ledger of a collection: every series with what became of it, and the split by patient."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

from prdit.data.quality import QualityRow, read_rows, write_rows
from prdit.errors import UserError
from prdit.files import atomic
from prdit.recipes import LedgerRecipe

FIELDS = ("series_uid", "patient_id", "part", "file", "sha256")


def run(recipe: LedgerRecipe, *, shards: list[Path], ledger: Path, split: Path) -> None:
    """Join the quality rows of all shards and split the usable series by patient.

    Args:
        shards: quality.csv of each shard, beside the volumes it tells of.
        ledger: all rows, by series.
        split: the usable series; `file` is relative to this file's folder.
    """
    rows: list[QualityRow] = []
    files: dict[str, str] = {}
    for shard in shards:
        for row in read_rows(shard):
            rows.append(row)
            volume = shard.parent / f"{row.series_uid}.nii.gz"
            files[row.series_uid] = volume.relative_to(split.parent).as_posix()
    if len(rows) != recipe.series:
        raise UserError(
            f"the shards tell of {len(rows)} series, not of all {recipe.series}; delete the"
            f" quality.csv of the shard that is cut short, in {ledger.parent}, and run again"
        )
    rows.sort(key=lambda row: row.series_uid)
    usable = [row for row in rows if row.status != "excluded"]
    held_out = held_out_patients(
        {r.patient_id for r in usable}, recipe.split.held_out, recipe.split.seed
    )
    write_rows(ledger, rows)
    with atomic(split) as partial, partial.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(FIELDS)
        for row in usable:
            part = "held-out" if row.patient_id in held_out else "train"
            where = files[row.series_uid]
            table.writerow((row.series_uid, row.patient_id, part, where, row.sha256))


def held_out_patients(patients: set[str], share: float, seed: int) -> set[str]:
    """The patients whose hashed ids come first: any order of listing gives the same.

    Args:
        share: of all patients, or from 1 on their number.

    Raises:
        UserError: too few patients to hold one out and train on another.
    """
    count = round(share * len(patients)) if share < 1 else int(share)
    if not 0 < count < len(patients):
        raise UserError(
            f"of {len(patients)} usable patients {count} would be held out (held_out {share:g});"
            " both parts need one at least: add scans or change datasets.<name>.split.held_out"
        )
    return set(sorted(patients, key=lambda patient: _hash(seed, patient))[:count])


def _hash(seed: int, patient: str) -> str:
    return hashlib.sha256(f"{seed} {patient}".encode()).hexdigest()
