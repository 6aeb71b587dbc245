"""Samples as a step of the workflow: from a weights file to NIfTI volumes in HU."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from prdit.data.volume import Volume, from_window, read_nifti, read_note, write_nifti
from prdit.errors import OutOfMemory, UserError
from prdit.files import atomic, damaged, read_json, sha256, write_json
from prdit.generators import weights as weights_file
from prdit.generators.base import Draw
from prdit.kept import Kept
from prdit.machine.device import chosen_device, device_name
from prdit.machine.memory import asked_for, peak_gib, release
from prdit.machine.too_large import that_counts, too_large
from prdit.recipes import SampleRecipe

NOTE = "synthetic; clamped"
SAME_HU, SAME_DB = 1, 45.0
"""What other code may differ by to be taken for the same: on a CPU, HU of any voxel, as rounding on
another machine may cause; on a GPU, whose bfloat16 is coarse, the least PSNR over the window, and
twice as many HU on average."""


def run(
    recipe: SampleRecipe,
    *,
    code: str,
    weights: Path,
    record: Path,
    card: Path,
    batch: int,
    threads: int,
    adopt: Literal["no", "proven"] = "no",
) -> None:
    """Draw samples first .. first + count - 1 of a seed, a NIfTI each in a folder beside `card`.

    The folder is named by weights, sampler, seed and code. Volumes that are in it already, and
    whole, are not drawn again.

    Args:
        code: digest of the code.
        record: of the training, which knows the sha256 of its weights.
        card: JSON written last: the files with their sha256, and what made them.
        batch: volumes at a time; does not change them beyond float rounding.
        adopt: "proven": take volumes that other code drew, if the present code draws the first of
            them alike.
    """
    torch.set_num_threads(threads)
    device = chosen_device()
    digest = sha256(weights)
    if read_json(record, "sha256")["sha256"] != digest:
        raise damaged(weights, f"it is not what {record.name} tells of")
    about = {"weights": digest, "seed": recipe.seed, "sampler": recipe.sampler.model_dump()}
    kept = Kept(card.parent, {**about, "code": code})
    kept.declare()
    numbers = range(recipe.first, recipe.first + recipe.count)
    source = Source(recipe, weights, device, batch)
    source.fits = any(kept.folder.glob("*.nii.gz"))
    started = time.perf_counter()
    try:
        if adopt == "proven":
            take_over(kept, source, numbers)
        missing = [n for n in numbers if share_clamped(path_of(kept, n)) is None]
        for number, volume, note in source.volumes(missing):
            write_nifti(path_of(kept, number), volume, note)
    except OutOfMemory as error:  # which is a result to pass on
        write_json(card, {**about, "files": {}, "oom": error.asked})
        return
    paths = [path_of(kept, n) for n in numbers]
    told = {
        "files": {f"{kept.key}/{path.name}": sha256(path) for path in paths},
        "share_clamped": float(np.mean(np.array([share_clamped(path) for path in paths], float))),
        "drawn": len(missing),
        "seconds": round(time.perf_counter() - started, 2),
        "memory_gib": round(peak_gib(device), 3),
        "device": device_name(device) if device.type == "cuda" else "cpu",
    }
    write_json(card, {**weights_file.told(weights), **about, **told})


def path_of(kept: Kept, number: int) -> Path:
    """Where sample `number` lies."""
    return kept.folder / f"{number:05d}.nii.gz"


class Source:
    """Where samples come from; weights are loaded once there is something to draw."""

    def __init__(
        self, recipe: SampleRecipe, weights: Path, device: torch.device, batch: int
    ) -> None:
        self.recipe, self.weights, self.device, self.batch = recipe, weights, device, batch
        self.fits = False
        """Whether volumes have been drawn already."""

    @cached_property
    def loaded(self) -> tuple[Draw, dict[str, Any]]:
        """What draws volumes, and what the weights file says of them."""
        with that_counts(self.device):
            generator, about = weights_file.load(self.weights, str(self.device))
            draw = generator.drawing(self.recipe.sampler)
        return draw, about

    def volumes(self, numbers: Sequence[int]) -> Iterator[tuple[int, Volume, str]]:
        """(number, volume in HU, note for its header), for each of the numbers.

        Raises:
            OutOfMemory: the model was too large to train, or is to draw one volume at a time.
            UserError: it draws what is not finite, or others hold the memory that it needs.
        """
        if not numbers:
            return
        about, left = self.loaded[1], list(numbers)
        while left:
            some, x = self.fitting(left)
            left = left[len(some) :]
            if not np.isfinite(x).all():
                raise UserError(
                    f"{self.weights} makes volumes that are not finite; train it anew, or mend how"
                    " its generator draws"
                )
            for number, volume in zip(some, x, strict=True):
                yield number, in_hu(volume, about["window"], about["spacing_mm"]), note(volume)

    def fitting(self, numbers: Sequence[int]) -> tuple[Sequence[int], np.ndarray]:
        """The first of the numbers and their volumes [B, S, S, S], as many as memory holds."""
        draw, about = self.loaded
        failed = False
        while True:
            some = numbers[: self.batch]
            try:
                with torch.inference_mode():
                    x = draw(torch.tensor(some, device=self.device), self.recipe.seed)
                due = (len(some), 1, *[about["size"]] * 3)
                if tuple(x.shape) != due:
                    raise UserError(f"{self.weights} draws {tuple(x.shape)}, where {due} is due")
                found = x.squeeze(1).float().cpu().numpy()
                self.fits = True
                return some, found
            except Exception as error:
                if asked_for(error) is None:
                    raise
                if len(some) == 1 and failed:
                    raise self.too_large(error) from None
            # A result needs a second failure, out here where the first one's memory is free again.
            failed = len(some) == 1
            self.batch = max(1, len(some) // 2)
            release()

    def too_large(self, error: Exception) -> Exception:
        """What to raise where one volume does not fit: a result only if none ever did."""
        if not self.fits:
            return too_large(error, self.device)
        return UserError(
            f"out of memory ({asked_for(error)}), though volumes were drawn before: something else"
            " takes it; run the same command again"
        )


def take_over(kept: Kept, source: Source, numbers: Sequence[int]) -> None:
    """Take what other code drew, of the first code whose first volume the present one draws too."""
    for other in filter(kept.differs_in_code_alone, kept.siblings()):
        there = [n for n in numbers if share_clamped(path_of(other, n)) is not None]
        # In a batch as they were drawn in: libraries choose other kernels for another.
        for number, volume, _ in islice(source.volumes(there[: source.batch]), 1):
            before = read_nifti(path_of(other, number)).hu.astype(int)
            if same(before, volume.hu.astype(int), source):
                for each in there:
                    with atomic(path_of(kept, each)) as partial:
                        shutil.copyfile(path_of(other, each), partial)
                print(f"{len(there)} volumes of {other.key} are taken over")
                return
            print(f"{other.key} is not taken over: the present code draws another volume {number}")


def same(before: np.ndarray, now: np.ndarray, source: Source) -> bool:
    """Whether two volumes in HU differ by no more than rounding does on the device."""
    if before.shape != now.shape:
        return False
    if source.device.type != "cuda":
        return bool(np.abs(before - now).max() <= SAME_HU)
    low, high = source.loaded[1]["window"]
    error = (before - now).astype(np.float64)
    least_error = (high - low) ** 2 / 10 ** (SAME_DB / 10)
    return bool(np.square(error).mean() <= least_error and abs(error.mean()) <= 2 * SAME_HU)


def in_hu(x: np.ndarray, window: tuple[float, float], spacing_mm: float) -> Volume:
    """A volume [S, S, S] in [-1, 1], clamped to it, as HU on a grid centred on the origin."""
    start = -spacing_mm * (x.shape[0] - 1) / 2
    return Volume(from_window(x, *window), (spacing_mm,) * 3, (start,) * 3)


def note(x: np.ndarray) -> str:
    """What a sample's header says: the share of voxels outside [-1, 1], which were clamped."""
    return f"{NOTE} {(np.abs(x) > 1).mean():.6f}"


def share_clamped(path: Path) -> float | None:
    """The share of voxels that a sample's header says were clamped; None if it is not whole."""
    told = read_note(path) or ""
    return float(told.removeprefix(NOTE)) if told.startswith(NOTE) else None
