"""What several tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_ct() -> Path:
    """The folder of real chest CTs, which lies beside the repository and is not part of it."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "real_ct"
    if not folder.is_dir():
        pytest.skip(f"no real CT scans at {folder}")
    return folder
