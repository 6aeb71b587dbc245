"""Samples as a step of the workflow: from a weights file to NIfTI volumes in HU."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from prdit.data.volume import Volume, from_window, write_nifti
from prdit.errors import OutOfMemory, UserError
from prdit.files import damaged, read_json, sha256, write_json
from prdit.generators import weights as weights_file
from prdit.recipes import SampleRecipe


def run(
    recipe: SampleRecipe, *, weights: Path, record: Path, card: Path, batch: int, threads: int
) -> None:
    """Draw samples first .. first + count - 1 of a seed, a NIfTI each beside `card`.

    Args:
        record: of the training, which knows the sha256 of its weights.
        card: JSON written last: the files with their sha256, and what made them.
        batch: volumes at a time; does not change them beyond float rounding.
    """
    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    digest = sha256(weights)
    if read_json(record, "sha256")["sha256"] != digest:
        raise damaged(weights, f"it is not what {record.name} tells of")
    try:
        generator, about = weights_file.load(weights, device)
    except OutOfMemory as error:  # there is nothing to draw from, which is a result to pass on
        write_json(card, {"files": {}, "oom": error.asked, "weights_sha256": digest})
        return
    draw = generator.drawing(recipe.sampler)
    started = time.perf_counter()
    files, outside = {}, 0.0
    numbers = torch.arange(recipe.first, recipe.first + recipe.count)
    card.parent.mkdir(parents=True, exist_ok=True)
    for index in numbers.split(batch):
        x = draw(index.to(device), recipe.seed).squeeze(1).cpu().numpy()
        if not np.isfinite(x).all():
            raise UserError(f"{weights} makes volumes that are not finite; train it anew")
        outside += float((np.abs(x) > 1).mean(axis=(1, 2, 3)).sum())
        for number, volume in zip(index.tolist(), x, strict=True):
            path = card.parent / f"{number:05d}.nii.gz"
            write_nifti(path, in_hu(volume, about["window"], about["spacing_mm"]))
            files[path.name] = sha256(path)
    about |= {
        "files": files,
        "sampler": recipe.sampler.model_dump(),
        "seed": recipe.seed,
        "weights_sha256": digest,
        "share_clamped": outside / recipe.count,
        "seconds": round(time.perf_counter() - started, 2),
        "device": device,
    }
    write_json(card, about)


def in_hu(x: np.ndarray, window: tuple[float, float], spacing_mm: float) -> Volume:
    """A volume [S, S, S] in [-1, 1], clamped to it, as HU on a grid centred on the origin."""
    start = -spacing_mm * (x.shape[0] - 1) / 2
    return Volume(from_window(x, *window), (spacing_mm,) * 3, (start,) * 3)
