"""How fast a CT series becomes a cube beside the usual way, on one core, in one process."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

os.environ["OMP_NUM_THREADS"] = "1"  # of what numpy and scipy are built with
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import nibabel as nib
import numpy as np
import scipy
import SimpleITK as sitk
import torch

from prdit.config.data import Grid
from prdit.data import preprocess
from prdit.data.phantom.dicom_writer import write_series
from prdit.data.phantom.thorax import thorax
from prdit.data.released import centre_crop, resample
from prdit.data.volume import AIR_HU
from prdit.files import write_json

NUMBERS = {"slices": 200, "edge": 512, "pairs": 3}
SPACING_MM = (1.6, 0.7, 0.7)
GRID = Grid(size=256, spacing_mm=1.0)
STAGES = {"read": "read_series", "resample": "to_cube", "write": "write_nifti"}
HEAD = "{slices} slices of {edge}^2 to 256^3; {device}, one thread"
LINE = "{seconds:.2f} s a volume ({low:.2f} to {high:.2f}), {volumes_per_minute:.2f} a minute"


def write(folder: Path, slices: int, edge: int) -> None:
    """A phantom's chest as a folder of DICOM files."""
    write_series(folder, thorax(0, 0, SPACING_MM, (slices, edge, edge)), patient_id="phantom")


def ours(folder: Path, file: Path) -> dict[str, float]:
    """The package's way, as its jobs take it; the seconds of each stage."""
    taken: dict[str, float] = {}

    def timed(stage: str, function: Callable[..., Any], *args: object) -> object:
        started = time.perf_counter()
        result = function(*args)
        taken[stage] = time.perf_counter() - started
        return result

    calls = {n: partial(timed, stage, getattr(preprocess, n)) for stage, n in STAGES.items()}
    started = time.perf_counter()
    with patch.multiple(preprocess, **calls):
        volume, row = preprocess.preprocess_series(folder, GRID)
        assert volume is not None, row.reason
        preprocess.write_nifti(file, volume)
    taken["anatomy and checks"] = time.perf_counter() - started - sum(taken.values())
    return taken


def plain(folder: Path, file: Path) -> None:
    """The way of most released code: dicom2nifti, cubic splines by scipy, a crop."""
    try:
        from dicom2nifti import dicom_series_to_nifti
    except ImportError:
        sys.exit("The plain way needs dicom2nifti: pip install dicom2nifti")
    whole = file.with_name("whole.nii")  # with .gz it takes a third longer
    dicom_series_to_nifti(folder, whole, reorient_nifti=False)
    image = nib.load(whole)
    even = resample(np.asanyarray(image.dataobj), image.header.get_zooms(), GRID.spacing_mm)
    lacking = [max(GRID.size - n, 0) for n in even.shape]
    if any(lacking):
        even = np.pad(even, [(n // 2, n - n // 2) for n in lacking], constant_values=AIR_HU)
    cube = np.rint(centre_crop(even, GRID.size)).astype(np.int16)
    nib.save(nib.Nifti1Image(cube, np.diag([-1.0, -1.0, 1.0, 1.0])), file)


WAYS = {"prdit": ours, "plain": plain}


def measure(case: Namespace) -> dict[str, Any]:
    """Both ways in turn, after a small series each that does not count."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    stages, pairs = [], []
    with tempfile.TemporaryDirectory() as name:
        small, large = (Path(name) / kind for kind in ("small", "large"))
        write(small, 8, 64)
        write(large, case.slices, case.edge)
        for number, folder in enumerate([small, *[large] * case.pairs]):
            pair = {}
            for way in list(WAYS)[:: 1 if number % 2 else -1]:  # neither is always after the other
                started = time.perf_counter()
                found = WAYS[way](folder, Path(name) / f"{way}.nii.gz")
                pair[way] = time.perf_counter() - started
                stages += [found] if found else []
            pairs.append(pair)
    told: dict[str, Any] = {"ratios": [pair["plain"] / pair["prdit"] for pair in pairs[1:]]}
    for way in WAYS:
        each = [pair[way] for pair in pairs[1:]]
        told[way] = {"seconds": median(each), "low": min(each), "high": max(each)}
        told[way]["volumes_per_minute"] = 60 / median(each)
    told["stages"] = {stage: median(one[stage] for one in stages[1:]) for stage in stages[0]}
    return told | {"ratio": median(told["ratios"])}


def show(told: dict[str, Any]) -> None:
    print(HEAD.format(**told))
    for way in WAYS:
        print(f"{way}:", LINE.format(**told[way]))
    print("of prdit:", ", ".join(f"{stage} {s:.2f} s" for stage, s in told["stages"].items()))
    low, high = min(told["ratios"]), max(told["ratios"])
    print(f"plain takes {told['ratio']:.2f} times as long; pairs {low:.2f} to {high:.2f}")


def main() -> None:
    parser = ArgumentParser(allow_abbrev=False, description=__doc__)
    parser.add_argument("--json", type=Path, help="file to write")
    for name, default in NUMBERS.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    case = parser.parse_args()
    told = {name: vars(case)[name] for name in NUMBERS} | measure(case)
    told |= {module.__name__: module.__version__ for module in (np, scipy, sitk, nib)}
    told |= {"device": f"CPU ({torch.backends.cpu.get_cpu_capability()})"}
    show(told)
    if case.json:
        write_json(case.json, told)


if __name__ == "__main__":
    main()
