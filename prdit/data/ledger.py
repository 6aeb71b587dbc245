"""The ledger of a collection: every series with what became of it, and the split by patient."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from prdit.data.quality import QualityRow, read_rows, write_rows
from prdit.errors import UserError
from prdit.files import write_csv, write_json
from prdit.recipes import LedgerRecipe

FIELDS = ("series_uid", "patient_id", "part", "file", "sha256")
LUNG_ML = (1000.0, 9000.0)
"""Lungs of adults; more or less deserves a look."""
LEAST_LUNG = 0.9
"""Share of the lungs inside the cube, below which a scan deserves a look."""


def run(
    recipe: LedgerRecipe, *, shards: list[Path], ledger: Path, split: Path, summary: Path
) -> None:
    """Join the quality rows of all shards and split the usable series by patient.

    Args:
        shards: quality.csv of each shard, beside the volumes it tells of.
        ledger: all rows, by series.
        split: the usable series; `file` is relative to this file's folder.
        summary: JSON that adds up: series = ok + fixed + excluded, and what to look at.

    Raises:
        UserError: rows are missing or double, or more series are excluded than allowed.
    """
    rows, files = _joined(shards, split.parent)
    if recipe.series not in (None, len(rows)):
        raise UserError(
            f"the shards tell of {len(rows)} series, not of all {recipe.series}; delete the"
            f" quality.csv of the shard that is cut short, in {ledger.parent}, and run again"
        )
    rows = without_twins(rows)
    _check_excluded(rows, recipe.max_excluded)
    usable = [row for row in rows if row.status != "excluded"]
    held_out = held_out_patients(
        {r.patient_id for r in usable}, recipe.split.held_out, recipe.split.seed
    )
    chosen = [
        {
            "series_uid": row.series_uid,
            "patient_id": row.patient_id,
            "part": "held-out" if row.patient_id in held_out else "train",
            "file": files[row.series_uid],
            "sha256": row.sha256,
        }
        for row in usable
    ]
    write_rows(ledger, rows)
    write_json(summary, summed_up(rows, chosen))
    write_csv(split, FIELDS, ([one[field] for field in FIELDS] for one in chosen))


def _joined(shards: Iterable[Path], folder: Path) -> tuple[list[QualityRow], dict[str, str]]:
    """All rows by series, and the volume of each, relative to a folder."""
    rows: dict[str, QualityRow] = {}
    files: dict[str, str] = {}
    for shard in shards:
        for row in read_rows(shard):
            if row.series_uid in rows:
                raise UserError(
                    f"series {row.series_uid} is there twice, in {rows[row.series_uid].path} and in"
                    f" {row.path}; put all files of a series into one folder, and no copy into"
                    " another"
                )
            rows[row.series_uid] = row
            volume = shard.parent / f"{row.series_uid}.nii.gz"
            files[row.series_uid] = volume.relative_to(folder).as_posix()
    return [rows[uid] for uid in sorted(rows)], files


def without_twins(rows: list[QualityRow]) -> list[QualityRow]:
    """Of series with the same voxels, all but the first are excluded: one could be held out."""
    first: dict[str, str] = {}
    found = []
    for row in rows:
        if (
            row.status != "excluded"
            and first.setdefault(row.sha256, row.series_uid) != row.series_uid
        ):
            reason = f"the same voxels as series {first[row.sha256]}"
            row = replace(row, status="excluded", reason=reason)
        found.append(row)
    return found


def _check_excluded(rows: list[QualityRow], most: float) -> None:
    excluded = [row for row in rows if row.status == "excluded"]
    allowed = most * len(rows) if most < 1 else most
    if len(excluded) > allowed:
        reasons = "; ".join(f"{row.series_uid}: {row.reason}" for row in excluded[:3])
        raise UserError(
            f"{len(excluded)} of {len(rows)} series are excluded, more than max_excluded"
            f" ({most:g}) allows: {reasons}{'; ...' if len(excluded) > 3 else ''}; mend them, or"
            " write a larger datasets.<name>.max_excluded"
        )


def summed_up(rows: list[QualityRow], chosen: list[dict[str, str]]) -> dict[str, Any]:
    """The collection in numbers: what was read, mended, left out, and split."""
    states = Counter(row.status for row in rows)
    return {
        "series": len(rows),
        "patients": len({row.patient_id for row in rows}),
        **{status: states[status] for status in ("ok", "fixed", "excluded")},
        "parts": dict(Counter(one["part"] for one in chosen)),
        "look_at": {row.series_uid: why for row in rows if (why := odd(row))},
        "cohort": cohort(chosen),
    }


def odd(row: QualityRow) -> str:
    """Why a usable series deserves a look, in plain words; empty if it does not."""
    if row.status == "excluded" or row.lung_ml is None:
        return ""
    if not LUNG_ML[0] <= row.lung_ml <= LUNG_ML[1]:
        return f"{row.lung_ml:.0f} ml of lung in the cube"
    if row.lung_kept is not None and row.lung_kept < LEAST_LUNG:
        return f"{100 * row.lung_kept:.0f} % of the lungs in the cube"
    return ""


def cohort(chosen: Iterable[Mapping[str, str]]) -> str:
    """Digest of the usable series: whose they are, on which side of the split, every voxel.

    It stands in every card: two numbers with one cohort are of the same scans.
    """
    keys = ("series_uid", "patient_id", "part", "sha256")
    told = sorted([one[key] for key in keys] for one in chosen)
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


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
