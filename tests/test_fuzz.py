"""Damaged files through the readers: never a crash without a reason, a hang, or a wrong volume.

What a reader takes for usable must be what a plain reading of the same bytes gives; and whatever
was changed after a scan was verified is noticed before it is read.
"""

from __future__ import annotations

import io
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import pytest

from prdit.config import Array
from prdit.data.arrays import read_array
from prdit.data.dicom import read_series
from prdit.data.phantom.dicom_writer import write_series
from prdit.data.quality import Excluded
from prdit.data.sources.verified import RawScan, check_unchanged, read_verified, write_verified
from prdit.data.volume import Volume
from prdit.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom tells of each mutant
SERIES, ARRAYS = 350, 150
"""Mutants; 500 together."""
SECONDS = 20
"""More than this is a hang: none takes a tenth."""
TRUTH = np.random.default_rng(7).integers(-1000, 1500, (6, 9, 7)).astype(np.int16)


@contextmanager
def deadline() -> Iterator[None]:
    def hang(*_: object) -> None:
        raise AssertionError("a hang")

    signal.signal(signal.SIGALRM, hang)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


def mutated(content: bytes, rng: np.random.Generator, end: int) -> bytes:
    """Something wrong within the first `end` bytes, or the whole file cut short or spoilt."""
    if not content:
        return content
    changed = bytearray(content)
    where = int(rng.integers(end))
    match rng.integers(7):
        case 0:  # one bit
            changed[where] ^= 1 << int(rng.integers(8))
        case 1:  # some bytes
            for _ in range(int(rng.integers(1, 9))):
                changed[int(rng.integers(end))] = int(rng.integers(256))
        case 2:  # cut short
            del changed[int(rng.integers(len(changed))) :]
        case 3:  # a part missing
            del changed[where : where + int(rng.integers(1, 64))]
        case 4:  # a part twice
            changed[where:where] = changed[where : where + int(rng.integers(1, 64))]
        case 5:  # a length or number blown up
            changed[where : where + 4] = b"\xff\xff\xff\x7f"
        case 6:  # another digit: spacing, position, slope
            digits = [i for i in range(end) if 0x30 <= changed[i] <= 0x39] or [0]
            changed[digits[int(rng.integers(len(digits)))]] = int(rng.integers(0x30, 0x3A))
    return bytes(changed)


def plain_reading(folder: Path, uid: str) -> np.ndarray:
    """HU of a series by pydicom alone, slices by their height."""
    slices = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    slices = [s for s in slices if s.get("SeriesInstanceUID") == uid and s.get("Modality") == "CT"]
    row, column = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
    slices.sort(
        key=lambda s: float(np.array(s.ImagePositionPatient, float) @ np.cross(row, column))
    )
    hu = [s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices]
    return np.rint(np.clip(hu, -1024, 3071)).astype(np.int16)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "series"
    write_series(folder, Volume(TRUTH, (2.5, 0.8, 0.7)), patient_id="fuzz")
    return folder


@pytest.mark.parametrize("seed", range(10))
def test_damaged_series(whole: Path, tmp_path: Path, seed: int) -> None:
    uid = str(pydicom.dcmread(next(whole.iterdir())).SeriesInstanceUID)
    write_verified(tmp_path / "verified.json", [RawScan(uid, whole)])
    ((_, content),) = read_verified(tmp_path / "verified.json")
    usable = 0
    for number in range(SERIES // 10):
        rng = np.random.default_rng([seed, number])
        folder = tmp_path / f"{number}"
        shutil.copytree(whole, folder)
        for _ in range(int(rng.choice([1, 1, 1, 6]))):  # often one file, sometimes many
            victim = sorted(folder.iterdir())[int(rng.integers(len(TRUTH)))]
            original = victim.read_bytes()
            header = max(1, min(len(original), len(original) - 2 * TRUTH[0].size))
            victim.write_bytes(mutated(original, rng, header))
        with deadline():
            try:
                scan = read_series(folder, uid)
            except (Excluded, UserError):
                scan = None
        usable += scan is not None
        if scan is not None and not scan.flags:
            np.testing.assert_array_equal(scan.hu, plain_reading(folder, uid))
        if scan is None or not np.array_equal(scan.hu, TRUTH):
            with pytest.raises(UserError, match="is not what it was when it was verified"):
                check_unchanged(RawScan(uid, folder), content)
    assert 3 <= usable <= 32  # both ends were reached


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_arrays(tmp_path: Path, compressed: bool) -> None:
    written = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(written, ct=TRUTH)
    content = written.getvalue()
    usable = 0
    for number in range(ARRAYS // 2):
        rng = np.random.default_rng([number, compressed])
        path = tmp_path / f"{number}.npz"
        path.write_bytes(mutated(content, rng, len(content)))
        with deadline():
            try:
                scan = read_array(path, Array(head_first=False))
            except Excluded:
                continue
        usable += 1
        np.testing.assert_array_equal(scan.hu, TRUTH)
    assert usable < ARRAYS // 4
