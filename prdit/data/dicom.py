"""Read one CT series from a folder of DICOM files, mending what can be mended and saying so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.uid import MediaStorageDirectoryStorage

from prdit.data.quality import Excluded, QualityRow
from prdit.data.scan import Scan
from prdit.data.slices import parse_slice
from prdit.data.sources.verified import files_of
from prdit.data.stack import assemble
from prdit.errors import UserError

_ELEMENTS = [
    *("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("PatientID", "Modality", "ImageType", "SeriesDescription", "InstanceNumber"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue"),
    *("RescaleSlope", "RescaleIntercept", "ConvolutionKernel", "PixelData"),
]
"""All that is ever looked at; pydicom skips the rest, private elements above all."""


@dataclass(frozen=True)
class _Folder:
    """The files of a folder, read once and sorted by what they are."""

    ct: dict[str, list[tuple[str, Dataset]]]
    """CT images by SeriesInstanceUID, as (file name, header with pixels)."""
    other: dict[str, str]
    """Modality (or LOCALIZER) of every other DICOM series, by SeriesInstanceUID."""
    broken: list[str]
    n_files: int


def read_series(folder: Path, series_uid: str | None = None) -> Scan:
    """Read the CT series of a folder (not of its sub-folders), whatever its files are called.

    Raises:
        UserError: no such folder, no DICOM in it, or no telling which of several series is meant.
        Excluded: the series is there but is no CT, damaged, or not one undistorted volume.
    """
    content = _read_folder(folder)
    uid = _choose(folder, content, series_uid)
    images = content.ct[uid]
    quality = _identity(uid, images, content)
    try:
        patients = sorted({_patient(header) for _, header in images})
        if len(patients) > 1:
            raise Excluded(f"mixed patients: {', '.join(patients)[:200]}")
        if content.broken:
            raise Excluded(f"{content.broken[0]} cannot be read as DICOM")
        return assemble([parse_slice(file, header) for file, header in images], quality)
    except Excluded as error:
        raise Excluded(error.reason, error.quality or quality) from error.__cause__


def series_in(folder: Path) -> tuple[dict[str, str], list[str]]:
    """PatientID of every CT series of a folder by SeriesInstanceUID, and files that are broken.

    Only headers are read.
    """
    content = _read_folder(folder, pixels=False)
    return {uid: _patient(ct[0][1]) for uid, ct in content.ct.items()}, content.broken


def _read_folder(folder: Path, *, pixels: bool = True) -> _Folder:
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    paths = files_of(folder)
    content = _Folder(ct={}, other={}, broken=[], n_files=len(paths))
    for path in paths:
        header = _read_file(path, pixels)
        try:
            known = header is None or _sort_in(content, path.name, header)
        except Exception:  # noqa: BLE001 - elements are read when asked for, and may be anything
            known = False
        if not known or (header is None and path.suffix.lower() == ".dcm"):
            content.broken.append(path.name)
    return content


def _read_file(path: Path, pixels: bool) -> Dataset | None:
    """The parsed file, empty if it breaks off; None if it does not even claim to be DICOM."""
    try:
        return pydicom.dcmread(path, specific_tags=_ELEMENTS, stop_before_pixels=not pixels)
    except InvalidDicomError:
        return None
    except Exception:  # noqa: BLE001 - a damaged file can make the parser fail in any way
        empty = Dataset()
        empty.file_meta = pydicom.dataset.FileMetaDataset()
        return empty


def _sort_in(content: _Folder, file: str, header: Dataset) -> bool:
    """Put a file to its series; False if it is of none, and no table of contents either."""
    if "Modality" not in header or not header.get("SeriesInstanceUID"):  # it is cut short
        return header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage
    uid = str(header.SeriesInstanceUID)
    if "LOCALIZER" in (header.get("ImageType") or ()):
        content.other[uid] = "LOCALIZER"
    elif header.Modality != "CT":
        content.other[uid] = header.Modality
    else:
        content.ct.setdefault(uid, []).append((file, header))
    return True


def _choose(folder: Path, content: _Folder, series_uid: str | None) -> str:
    """The SeriesInstanceUID to read."""
    if series_uid in content.ct:
        return series_uid
    if series_uid in content.other or (content.other and not content.ct and series_uid is None):
        kinds = sorted({content.other[series_uid]} if series_uid else set(content.other.values()))
        raise Excluded(f"not a CT volume: modality {', '.join(kinds)}")
    if not content.ct and content.broken:
        raise Excluded(f"{content.broken[0]} cannot be read as DICOM")
    if not content.ct:
        raise UserError(f"{folder} holds no DICOM files (sub-folders are not searched)")
    if series_uid is not None:
        raise UserError(f"{folder} does not hold series {series_uid}; it holds {_listing(content)}")
    if len(content.ct) > 1:
        raise UserError(
            f"{folder} holds {len(content.ct)} CT series; choose one with --series UID:"
            f" {_listing(content)}"
        )
    return next(iter(content.ct))


def _listing(content: _Folder) -> str:
    return ", ".join(
        f"{uid} ({len(images)} images, {_text(images[0][1], 'SeriesDescription') or 'unnamed'})"
        for uid, images in sorted(content.ct.items())
    )


def _identity(uid: str, images: list[tuple[str, Dataset]], content: _Folder) -> QualityRow:
    """What the headers alone say of the series."""
    header = images[0][1]
    return replace(
        QualityRow(series_uid=uid),
        study_uid=_text(header, "StudyInstanceUID"),
        patient_id=_patient(header),
        n_files=len(images),
        n_ignored=content.n_files - len(images),
        kernel=_text(header, "ConvolutionKernel"),
        slice_thickness=_number(header, "SliceThickness"),
    )


def _patient(header: Dataset) -> str:
    return _text(header, "PatientID").strip()


def _text(header: Dataset, keyword: str) -> str:
    """An element as text, empty if missing or malformed; several values as DICOM joins them."""
    try:
        value = header.get(keyword)
    except Exception:  # noqa: BLE001 - a damaged element that nothing depends on
        return ""
    values = value if isinstance(value, MultiValue) else [value]
    return "\\".join("" if v is None else str(v) for v in values)


def _number(header: Dataset, keyword: str) -> float | None:
    try:
        return float(header.get(keyword))
    except Exception:  # noqa: BLE001 - a damaged element that nothing depends on
        return None
