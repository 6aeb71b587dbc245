"""What several tests share."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

os.environ.setdefault("PRDIT_CPU", "1")  # their numbers are a CPU's, beside a GPU, too


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        action="append",
        type=Path,
        metavar="DIR",
        help="folder of vectors recorded from the released code, for test_golden.py; may be"
        " repeated (default: ../shared/golden beside the repository)",
    )


LONG = (
    "benchmarks",
    "doctor",
    "faults",
    "gpu_benchmark",
    "interruptions",
    "plan_verb",
    "readme",
    "report",
    "updates",
)
"""Files of tests that start processes, and take seconds each."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make test-fast` leaves out: whatever runs the workflow or other processes."""
    for item in items:
        file = item.path.stem.removeprefix("test_")
        if file in LONG or "workflow_copy" in getattr(item, "fixturenames", ()):
            item.add_marker("long")


@pytest.fixture(scope="session")
def shared() -> Path:
    """A folder of data beside the repository that some tests compare with; no part of it."""
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no data to compare with at {folder}")
    return folder


@pytest.fixture(scope="session")
def real_ct(shared: Path) -> Path:
    """The folder of real chest CTs."""
    folder = shared / "real_ct"
    if not folder.is_dir():
        pytest.skip(f"no real CT scans at {folder}")
    return folder


ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def workflow_copy(tmp_path: Path) -> Path:
    """A copy of the workflow to break: what git tracks or would track, without results."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    copy = tmp_path / "copy"
    for name in filter(None, names):
        here = (ROOT / name).is_file() or (ROOT / name).is_symlink()
        if here and not name.startswith(("tests/", "docs/")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    return copy
