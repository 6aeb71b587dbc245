"""From the slices of one CT series to a regular scan in HU: alike, in order, single, evenly spaced.

SimpleITK and dicom2nifti read a series with a missing, doubled or sheared slice without a word,
with wrong geometry. Here every such fault is mended and flagged, or the series is excluded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from prdit.data.quality import Excluded, Facts, QualityRow
from prdit.data.scan import MIN_SLICES, Scan, with_geometry
from prdit.data.slices import Slice, to_hu

SAME_PLACE_MM = 0.01
MAX_DRIFT_MM = 0.1
MAX_DOUBLED = 0.1
"""Above this share of doubled positions the series is two reconstructions or phases, not one."""
MAX_END = 0.05
"""An isolated end may hold less than this share of the slices."""


def assemble(slices: Sequence[Slice], quality: QualityRow) -> Scan:
    """Stack the slices of one series into a regular scan, in any order of arrival.

    Raises:
        Excluded: the slices cannot form one undistorted volume.
    """
    _require_alike(slices)
    axes = _axes(slices)
    ordered = sorted(slices, key=lambda s: (float(s.position @ axes[:, 2]), s.number, s.uid))
    quality = replace(quality, tilt_deg=_refuse_tilt(ordered, axes))
    single, doubled = _without_doubles(ordered, axes[:, 2])
    _require_enough(len(single))
    used, dropped = _without_isolated_ends(single, axes[:, 2])
    heights = _heights(used, axes[:, 2])
    quality = replace(
        quality,
        n_used=len(used),
        n_duplicates=len(ordered) - len(single),
        **_spacing_facts(heights),
    )
    resampled = _judge_spacing(heights, quality)
    hu, facts = to_hu(used)
    if resampled:
        hu, heights = _onto_regular_grid(hu, heights)
    dz = float((heights[-1] - heights[0]) / (len(heights) - 1))
    dy, dx = (float(d) for d in used[0].pixel_spacing)
    return with_geometry(
        Scan(
            hu=hu,
            spacing_xyz=(dx, dy, dz),
            origin_xyz=tuple(used[0].position.tolist()),
            direction=axes,
            flags=doubled + dropped + resampled,
            quality=replace(quality, **facts),
        )
    )


def _require_alike(slices: Sequence[Slice]) -> None:
    _require_enough(len(slices))
    _require_same("image size", slices, lambda s: s.stored.shape)
    _require_same("pixel type", slices, lambda s: s.stored.dtype.name)
    _require_same("frame of reference", slices, lambda s: s.frame)
    _require_close("pixel spacing", slices, [s.pixel_spacing for s in slices])
    _require_close("image orientation", slices, [s.orientation for s in slices])


def _require_enough(count: int) -> None:
    if count < MIN_SLICES:
        raise Excluded(f"only {count} slices, at least {MIN_SLICES} are needed")


def _require_same(what: str, slices: Sequence[Slice], value: Callable[[Slice], Hashable]) -> None:
    usual = Counter(value(s) for s in slices).most_common(1)[0][0]
    for s in slices:
        if value(s) != usual:
            raise Excluded(f"mixed {what}: {value(s)} in {s.file}, {usual} in most files")


def _require_close(
    what: str, slices: Sequence[Slice], values: list[NDArray[np.float64]], tolerance: float = 1e-4
) -> None:
    usual = np.median(values, axis=0)
    for s, value in zip(slices, values, strict=True):
        if np.abs(value - usual).max() > tolerance:
            raise Excluded(
                f"mixed {what}: {value.tolist()} in {s.file}, {usual.tolist()} in most files"
            )


def _axes(slices: Sequence[Slice]) -> NDArray[np.float64]:
    """[3, 3], columns: unit directions along a row (x), a column (y), and through the stack (z)."""
    row, column = np.median([s.orientation for s in slices], axis=0).reshape(2, 3)
    if np.abs([row @ row - 1, column @ column - 1, row @ column]).max() > 1e-3:
        raise Excluded("image orientation is not two perpendicular unit vectors")
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return np.stack([row, column, np.cross(row, column)], axis=1)


def _heights(slices: Sequence[Slice], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n], mm along the stack."""
    return np.array([s.position for s in slices]) @ normal


def _refuse_tilt(ordered: Sequence[Slice], axes: NDArray[np.float64]) -> float:
    """Angle in degrees by which the stack leans: 0 unless tilted, and then it is excluded."""
    places = np.array([s.position for s in ordered]) @ axes
    drift_x, drift_y, extent = np.ptp(places, axis=0)
    drift = max(drift_x, drift_y)
    degrees = float(np.degrees(np.arctan2(drift, extent)))
    if drift > MAX_DRIFT_MM:
        raise Excluded(
            f"tilted or sheared: slices shift by {drift:.1f} mm in plane ({degrees:.1f} degrees)"
        )
    return degrees


def _without_doubles(
    ordered: Sequence[Slice], normal: NDArray[np.float64]
) -> tuple[list[Slice], tuple[str, ...]]:
    """Keep the lowest InstanceNumber at each place; say whether the others were mere copies."""
    heights = _heights(ordered, normal)
    place = np.cumsum(np.diff(heights, prepend=heights[0]) > SAME_PLACE_MM)
    kept: dict[int, Slice] = {}
    copies, others = 0, 0
    for where, s in sorted(zip(place.tolist(), ordered, strict=True), key=lambda p: p[1].number):
        first = kept.setdefault(where, s)
        same = first is s or _same_pixels(first, s)
        copies, others = copies + (same and first is not s), others + (not same)
    if others > MAX_DOUBLED * len(kept):
        raise Excluded(f"{others} of {len(kept)} positions hold a second, different image")
    flags = []
    if copies:
        flags.append(f"{copies} duplicate slices dropped")
    if others:
        flags.append(f"{others} differing slices at the same position dropped")
    return [kept[where] for where in sorted(kept)], tuple(flags)


def _same_pixels(a: Slice, b: Slice) -> bool:
    return (a.slope, a.intercept) == (b.slope, b.intercept) and np.array_equal(a.stored, b.stored)


def _longest_gap(median: float) -> float:
    """Largest step in mm across which neighbouring slices are still interpolated."""
    return max(2.5 * median, 5.0)


def _without_isolated_ends(
    ordered: list[Slice], normal: NDArray[np.float64]
) -> tuple[list[Slice], tuple[str, ...]]:
    steps = np.diff(_heights(ordered, normal))
    gaps = np.flatnonzero(steps > _longest_gap(float(np.median(steps)))) + 1
    few = MAX_END * len(ordered)
    start = max((g for g in gaps if g < few), default=0)
    stop = min((g for g in gaps if len(ordered) - g < few), default=len(ordered))
    dropped = start + len(ordered) - stop
    flags = (f"{dropped} isolated end slices dropped",) if dropped else ()
    return ordered[start:stop], flags


def _spacing_facts(heights: NDArray[np.float64]) -> Facts:
    steps = np.diff(heights)
    median = float(np.median(steps))
    return {
        "dz_median": median,
        "dz_min": float(steps.min()),
        "dz_max": float(steps.max()),
        "n_missing": int(np.maximum(np.rint(steps / median) - 1, 0).sum()),
    }


def _judge_spacing(heights: NDArray[np.float64], quality: QualityRow) -> tuple[str, ...]:
    """Nothing for regular steps, a flag for steps to interpolate; a real gap is excluded."""
    steps = np.diff(heights)
    median = float(np.median(steps))
    worst = int(steps.argmax())
    if np.abs(steps - median).max() <= max(0.02 * median, 0.01):
        return ()
    if steps[worst] <= _longest_gap(median):
        return ("z resampled onto even steps",)
    raise Excluded(
        f"missing slices: a gap of {steps[worst]:.1f} mm at {heights[worst]:.1f} mm"
        f" along the stack, where slices are {median:g} mm apart",
        quality,
    )


def _onto_regular_grid(
    hu: NDArray[np.int16], heights: NDArray[np.float64]
) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Interpolate linearly along the stack, from the true heights onto even ones."""
    step = float(np.median(np.diff(heights)))
    count = int((heights[-1] - heights[0]) / step + 1.01)
    even = heights[0] + step * np.arange(count)
    below = np.clip(np.searchsorted(heights, even + SAME_PLACE_MM) - 1, 0, len(heights) - 2)
    share = np.clip((even - heights[below]) / (heights[below + 1] - heights[below]), 0, 1)
    regular = np.empty((count, *hu.shape[1:]), np.int16)
    for k, (i, w) in enumerate(zip(below, share.astype(np.float32), strict=True)):
        regular[k] = np.rint((1 - w) * hu[i] + w * hu[i + 1])
    return regular, even
