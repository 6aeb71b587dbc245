"""Some scans of a record, downloaded beside each other and verified."""

from __future__ import annotations

from pathlib import Path

from prdit.data.sources.record_list import COLUMNS
from prdit.data.sources.verified import RawScan, write_verified
from prdit.data.sources.zenodo import Record
from prdit.files import damaged, read_csv
from prdit.recipes import DownloadRecipe


def run(recipe: DownloadRecipe, *, manifest: Path, verified: Path) -> None:
    """Download scans first .. first + count - 1 of a manifest. What is there and whole is kept.

    Raises:
        UserError: refused, broken off too often, or other bytes than the manifest tells of.
    """
    record = Record(recipe.url, recipe.record)
    rows = read_csv(manifest, COLUMNS)[recipe.first : recipe.first + recipe.count]
    if len(rows) != recipe.count:
        raise damaged(manifest, f"it has fewer than {recipe.first + recipe.count} scans")
    scans = []
    for row in rows:
        path = verified.parent / row["file"]
        record.download(row["file"], int(row["bytes"]), row["md5"], path)
        scans.append(RawScan(row["scan_id"], path, row["patient_id"]))
    write_verified(verified, scans)
