"""Windowed, pooled volumes of one size, in one array that can be mapped into memory."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prdit.config import Window
from prdit.data.ledger import FIELDS, cohort
from prdit.data.quality import voxels_sha256
from prdit.data.volume import average_pool, from_window, quantile_window, read_nifti, to_window
from prdit.errors import UserError
from prdit.files import atomic, damaged, read_csv, read_json, sha256, write_json
from prdit.recipes import PackRecipe

FULL = 32767
"""int16 value of 1.0: a step is 3e-5, against 4e-3 for bfloat16 near 1 at the same size."""


@dataclass(frozen=True)
class Store:
    """Volumes in order of their ids."""

    quantised: np.ndarray
    """int16 [N, S, S, S]; [-32767, 32767] stands for [-1, 1]."""
    series: list[str]
    parts: list[str]
    """"train" or "held-out", per volume."""
    window: tuple[float, float]
    """HU of -1 and of 1."""
    nominal: bool
    """Whether volumes had upper bounds of their own, so that the window's is but nominal."""
    spacing_mm: float
    sha256: str
    """Of the array's file."""
    cohort: str
    """Digest of the usable series, their patients and the split."""

    def volume(self, i: int) -> np.ndarray:
        """float32 [S, S, S] in [-1, 1]."""
        return self.quantised[i].astype(np.float32) / FULL

    def in_whole_hu(self, i: int) -> np.ndarray:
        """The same, rounded to whole HU as generated volumes are."""
        return to_window(from_window(self.volume(i), *self.window), *self.window)

    def fingerprint(self) -> dict[str, Any]:
        """What a training on these volumes depends on."""
        ids = json.dumps([self.series, self.parts]).encode()
        return {
            "voxels_sha256": self.sha256,
            "ids_sha256": hashlib.sha256(ids).hexdigest(),
            "size": self.quantised.shape[1],
            "window": list(self.window),
        }


def run(recipe: PackRecipe, *, split: Path, array: Path, index: Path) -> None:
    """Window (v = 2 (HU - low) / (high - low) - 1), then pool every usable volume.

    Args:
        split: the usable series, as the ledger writes it.
        array: the .npy file to write.
        index: JSON beside it: series, parts, window, spacing, cohort, sha256 of the array; `highs`
            are the upper bounds of the volumes, the window's own unless it has a quantile.
    """
    rows = read_csv(split, FIELDS)
    spacing, highs = 0.0, []
    with atomic(array) as partial:
        with partial.open("wb") as out:
            shape = (len(rows), *(recipe.size,) * 3)
            header = {"descr": "<i2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(out, header)
            for row in rows:
                where = split.parent / row["file"]
                volume = read_nifti(where)
                if voxels_sha256(volume.hu) != row["sha256"]:
                    raise damaged(where.parent / "quality.csv", f"{where.name} has changed since")
                factor = volume.hu.shape[0] // recipe.size
                try:
                    v, high = windowed(volume.hu, recipe.window)
                except UserError as error:
                    raise UserError(f"{where}: {error}") from None
                highs.append(high)
                pooled = average_pool(v, factor)
                out.write(packed(pooled).tobytes())
                spacing = volume.spacing_mm[0] * factor
        digest = sha256(partial)
    about = {
        "series": [row["series_uid"] for row in rows],
        "parts": [row["part"] for row in rows],
        "window": [recipe.window.low, recipe.window.high],
        "highs": highs,
        "spacing_mm": spacing,
        "sha256": digest,
        "cohort": cohort(rows),
    }
    write_json(index, about)


def packed(v: np.ndarray) -> np.ndarray:
    """Values in [-1, 1] of any shape as a store holds them, int16."""
    return np.rint(v * FULL).astype("<i2")


def windowed(hu: np.ndarray, window: Window) -> tuple[np.ndarray, float]:
    """HU of any shape as float32 in [-1, 1], and the HU of 1: the window's, or the volume's own."""
    if window.quantile is None:
        return to_window(hu, window.low, window.high), window.high
    unit, high = quantile_window(hu.astype(np.float32), window.low, window.quantile)
    return 2 * unit - 1, high


def open_store(array: Path) -> Store:
    """The store at `array`, mapped into memory; its index lies beside it as .json.

    Raises:
        UserError: either file is missing or damaged, or they do not belong together.
    """
    keys = ("series", "parts", "window", "highs", "spacing_mm", "sha256", "cohort")
    about = read_json(array.with_suffix(".json"), *keys)
    if not array.is_file() or sha256(array) != about["sha256"]:
        raise damaged(array, "it is not what its .json tells of")
    quantised = np.load(array, mmap_mode="r", allow_pickle=False)
    low, high = about["window"]
    return Store(
        quantised=quantised,
        series=about["series"],
        parts=about["parts"],
        window=(low, high),
        nominal=any(own != high for own in about["highs"]),
        spacing_mm=about["spacing_mm"],
        sha256=about["sha256"],
        cohort=about["cohort"],
    )
