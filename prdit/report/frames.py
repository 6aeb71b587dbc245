"""Tidy tables that a run wrote, read back."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from prdit.files import damaged


def read_frame(path: Path, *columns: str) -> pd.DataFrame:
    """A CSV file with these columns at least. Raises UserError if it is not that."""
    try:
        frame = pd.read_csv(path)
    except ValueError as error:
        raise damaged(path, str(error)) from None
    missing = [name for name in columns if name not in frame]
    if missing:
        raise damaged(path, f"it has no column {', '.join(missing)}")
    return frame
