"""Raw scans of one shard: a folder per series, and a list written last, when all are there."""

from __future__ import annotations

from pathlib import Path

from prdit.errors import UserError
from prdit.files import damaged, read_json, write_json


def write_verified(path: Path, series: dict[str, str]) -> None:
    """Record that a shard is complete: {SeriesInstanceUID: folder beside `path`}."""
    counts = {name: _count(path.parent / name) for name in series.values()}
    write_json(path, {"series": series, "files": counts})


def read_verified(path: Path) -> dict[str, Path]:
    """{SeriesInstanceUID: folder} of a shard.

    Raises:
        UserError: the record is damaged, or a folder it names has no longer as many files.
    """
    told = read_json(path, "series", "files")
    try:
        series = {uid: path.parent / name for uid, name in told["series"].items()}
        expected = {uid: int(told["files"][name]) for uid, name in told["series"].items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise damaged(path, "it does not list series and numbers of files") from None
    for uid, folder in series.items():
        if _count(folder) != expected[uid]:
            raise UserError(
                f"series {uid} in {folder} has {_count(folder)} files, {expected[uid]} when it was"
                f" verified; delete {path} and run again to get it anew"
            )
    return series


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*.dcm"))
