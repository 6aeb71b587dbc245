"""A volume as a CT series that any DICOM reader accepts: for phantoms and for test fixtures."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from prdit.data.scan import HIGHEST_HU, LOWEST_HU
from prdit.data.volume import Volume

_INTERCEPT = -1024


def write_series(folder: Path, volume: Volume, *, patient_id: str, series_number: int = 1) -> str:
    """Write one file per slice into the folder and return the SeriesInstanceUID.

    Equal arguments give equal bytes. HU are clamped to the 12 bits of a scanner, [-1024, 3071].
    """
    datasets = series_datasets(volume, patient_id=patient_id, series_number=series_number)
    return save_datasets(folder, datasets)


def series_datasets(
    volume: Volume, *, patient_id: str, series_number: int = 1
) -> Iterator[Dataset]:
    """Yield the slices of a series as independent datasets, from the feet up.

    InstanceNumber counts from the head down, as scanners often do.
    """
    template = _template(volume, patient_id, series_number)
    stored = (np.clip(volume.hu, LOWEST_HU, HIGHEST_HU) - _INTERCEPT).astype("<i2")
    z, y, x = volume.origin_mm
    for k, pixels in enumerate(stored):
        dataset = copy.deepcopy(template)
        number = len(stored) - k
        dataset.SOPInstanceUID = _uid(template.SeriesInstanceUID, number)
        dataset.InstanceNumber = number
        dataset.ImagePositionPatient = _decimals(x, y, z + k * volume.spacing_mm[0])
        dataset.PixelData = pixels.tobytes()
        yield dataset


def save_datasets(folder: Path, datasets: Iterable[Dataset]) -> str:
    """Write each dataset under a name that tells nothing; return the last SeriesInstanceUID."""
    folder.mkdir(parents=True, exist_ok=True)
    series_uid = ""
    for dataset in datasets:
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        name = hashlib.sha256(dataset.SOPInstanceUID.encode()).hexdigest()[:16]
        dataset.save_as(folder / f"{name}.dcm", enforce_file_format=True)
        series_uid = str(dataset.SeriesInstanceUID)
    return series_uid


def _template(volume: Volume, patient_id: str, series_number: int) -> Dataset:
    """Everything the slices of a series share."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.StudyInstanceUID = _uid(patient_id, "study")
    dataset.FrameOfReferenceUID = _uid(patient_id, "frame")
    dataset.SeriesInstanceUID = _uid(patient_id, "series", series_number)
    dataset.SeriesNumber = series_number
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientID = dataset.PatientName = patient_id
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.StudyDate, dataset.StudyTime = "20000101", "000000"
    dataset.StudyID = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.Manufacturer = "prdit"
    dataset.PatientPosition = "HFS"
    dataset.KVP = "120"
    _describe_pixels(dataset, volume)
    return dataset


def _describe_pixels(dataset: Dataset, volume: Volume) -> None:
    z, y, x = volume.spacing_mm
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = _decimals(y, x)
    dataset.SliceThickness = _decimals(z)[0]
    dataset.Rows, dataset.Columns = volume.hu.shape[1:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", str(_INTERCEPT)
    dataset.RescaleType = "HU"


def _decimals(*values: float) -> list[str]:
    """DICOM decimal strings: 10 digits always fit into the 16 characters allowed."""
    return [f"{value:.10g}" for value in values]


def _uid(*key: str | int) -> str:
    return generate_uid(entropy_srcs=[str(part) for part in key])
