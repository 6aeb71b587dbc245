"""Raw scans of one shard: a folder per series, and a list written last, when all are there."""

from __future__ import annotations

from pathlib import Path

from prdit.errors import UserError
from prdit.files import read_json, write_json


def write_verified(path: Path, series: dict[str, str]) -> None:
    """Record that a shard is complete: {SeriesInstanceUID: folder beside `path`}."""
    write_json(path, {"series": series})


def read_verified(path: Path) -> dict[str, Path]:
    """{SeriesInstanceUID: folder} of a shard.

    Raises:
        UserError: the record is unreadable, or a folder it names is gone.
    """
    series = {uid: path.parent / name for uid, name in read_json(path)["series"].items()}
    for uid, folder in series.items():
        if not folder.is_dir():
            raise UserError(f"series {uid} is gone from {folder}; delete {path} to get it anew")
    return series
