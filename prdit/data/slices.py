"""One slice of a CT series: what its DICOM header says, and its pixels as HU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.utils import pixel_array

from prdit.data.quality import Excluded, Facts
from prdit.data.scan import HIGHEST_HU, clamp_hu, raw_facts
from prdit.data.volume import AIR_HU

_HIGHEST_PADDING_HU = -950
"""A padding value above this and within range could be tissue: then it is left alone."""
_NO_NUMBER = 2**31
"""Sorts after every InstanceNumber there is."""


@dataclass(frozen=True, eq=False)
class Slice:
    """One image of a series, as stored, with the header values that geometry and HU need."""

    file: str
    uid: str
    number: int
    """InstanceNumber: only to choose between two images at one place."""
    frame: str
    """FrameOfReferenceUID."""
    position: NDArray[np.float64]
    """[3], centre of the first pixel in patient coordinates, mm."""
    orientation: NDArray[np.float64]
    """[6], direction cosines along a row, then along a column."""
    pixel_spacing: NDArray[np.float64]
    """[2], between rows (y), between columns (x), mm."""
    slope: float
    intercept: float
    padding: int | None
    stored: NDArray[np.integer]
    """[rows, columns], before slope and intercept."""


def parse_slice(file: str, header: Dataset) -> Slice:
    """Take what matters from a parsed file, leaving its pixel bytes to the slice alone.

    Raises:
        Excluded: a needed element is missing or malformed, or the pixels are cut short.
    """
    try:
        return _parsed(file, header)
    except Excluded:
        raise
    except Exception as error:  # elements are read when asked for, and may be anything
        raise Excluded(f"{file} has a damaged header ({error or type(error).__name__})") from error


def _parsed(file: str, header: Dataset) -> Slice:
    slice_ = Slice(
        file=file,
        uid=str(header.get("SOPInstanceUID", "")),
        number=_instance_number(header),
        frame=str(header.get("FrameOfReferenceUID", "")),
        position=_numbers(file, header, "ImagePositionPatient", 3),
        orientation=_numbers(file, header, "ImageOrientationPatient", 6),
        pixel_spacing=_nonzero(file, header, "PixelSpacing", 2),
        slope=float(_nonzero(file, header, "RescaleSlope", 1)[0]),
        intercept=float(_numbers(file, header, "RescaleIntercept", 1)[0]),
        padding=header.get("PixelPaddingValue"),
        stored=_pixels(file, header),
    )
    del header.PixelData
    return slice_


def to_hu(
    slices: Sequence[Slice],
) -> tuple[NDArray[np.int16], Facts]:
    """Stored values to clamped HU [n, rows, columns] with padding as air, and the facts of both."""
    hu = np.empty((len(slices), *slices[0].stored.shape), np.int16)
    samples, ranges, padded = [], [], 0
    for k, s in enumerate(slices):
        raw = np.multiply(s.stored, np.float32(s.slope), dtype=np.float32)
        raw += np.float32(s.intercept)
        samples.append(raw[::4, ::4].copy())
        ranges += [raw.min(), raw.max()]
        if _has_padding(s):
            padding = s.stored == _as_stored(s.padding, s.stored.dtype)
            padded += int(np.count_nonzero(padding))
            raw[padding] = AIR_HU
        hu[k] = clamp_hu(raw)
    rescales = sorted({(s.slope, s.intercept) for s in slices})
    return hu, {
        "rescale": "; ".join(f"{slope:g}*v{intercept:+g}" for slope, intercept in rescales),
        "padding_value": slices[0].padding,
        "padding_fraction": padded / hu.size,
        **raw_facts(min(ranges), max(ranges), np.array(samples)),
    }


def _as_stored(padding: int | None, dtype: np.dtype[np.integer]) -> NDArray[np.integer]:
    """The padding value in the type of the pixels: 63536 (unsigned) is -2000 (signed)."""
    return np.array((padding or 0) & 0xFFFF, np.uint16).astype(dtype)


def _has_padding(s: Slice) -> bool:
    if s.padding is None:
        return False
    padding_hu = float(_as_stored(s.padding, s.stored.dtype)) * s.slope + s.intercept
    return padding_hu <= _HIGHEST_PADDING_HU or padding_hu > HIGHEST_HU


def _numbers(file: str, header: Dataset, keyword: str, count: int) -> NDArray[np.float64]:
    try:
        numbers = np.array(header[keyword].value, dtype=np.float64).reshape(count)
    except (KeyError, ValueError, TypeError) as error:
        raise Excluded(f"{file} has no valid {keyword}") from error
    if not np.isfinite(numbers).all():
        raise Excluded(f"{file} has no valid {keyword}")
    return numbers


def _nonzero(file: str, header: Dataset, keyword: str, count: int) -> NDArray[np.float64]:
    numbers = _numbers(file, header, keyword, count)
    if not numbers.all():
        raise Excluded(f"{file} has no valid {keyword}")
    return numbers


def _instance_number(header: Dataset) -> int:
    try:
        return int(header.InstanceNumber)
    except (AttributeError, TypeError, ValueError):
        return _NO_NUMBER


def _pixels(file: str, header: Dataset) -> NDArray[np.integer]:
    """[rows, columns], 16 bits, as stored."""
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise Excluded(f"{file} is multi-frame; only one image per file is supported")
    if header.get("BitsAllocated") != 16:
        raise Excluded(f"{file} has {header.get('BitsAllocated')} bits per pixel, CT has 16")
    expected = 2 * int(header.get("Rows") or 0) * int(header.get("Columns") or 0)
    syntax = header.file_meta.TransferSyntaxUID
    found = len(header.get("PixelData", b""))
    if found == 0 or (found < expected and not syntax.is_compressed):
        raise Excluded(f"{file} is truncated: {found} of {expected} bytes of pixels")
    try:
        return pixel_array(header, raw=True)
    except Exception as error:  # decoders of compressed pixels raise whatever they like
        raise Excluded(f"{file} holds {syntax.name} pixels that cannot be decoded") from error
