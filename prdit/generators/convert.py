"""By hand: a checkpoint of the released code as a weights file of this package."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from prdit.config import PRDiT as Entry
from prdit.config import Training
from prdit.errors import UserError
from prdit.files import sha256, write_json
from prdit.generators import weights
from prdit.generators.base import build
from prdit.models.released_names import Architecture, from_released, infer
from prdit.recipes import TrainRecipe

HEADS = {192: 6, 384: 6, 768: 12, 1024: 16, 1152: 16}
"""Width -> attention heads of the released sizes, which the weights do not tell."""

State = dict[str, Tensor]


def convert(
    checkpoint: Path,
    out: Path,
    *,
    size: int,
    heads: int | None = None,
    raw: bool = False,
    noise_std: float = 0.5,
    window: tuple[float, float] = (-1000.0, 1000.0),
    spacing_mm: float | None = None,
) -> None:
    """Write `out`, which sampling reads, from a checkpoint of the released code.

    Args:
        checkpoint: pickle of tensors and plain containers with "ema" and "model", or one set of
            weights, also as .safetensors.
        out: a new file that ends in .safetensors; its record, a .json, is put beside it.
        size: edge in voxels of the volumes it was trained on, which its weights do not tell.
        heads: where the width is none of the released sizes'.
        raw: sample from the weights before averaging.
        noise_std: standard deviation of eps it was trained with.
        window: HU of -1 and 1. The released code scales each volume by itself, so this is nominal.
        spacing_mm: voxel size; none: 256 mm over `size`.

    Raises:
        UserError: the checkpoint cannot be read, is no PRDiT, or does not fit these numbers.
    """
    if out.suffix != ".safetensors" or out.exists():
        raise UserError(f"{out} exists already or does not end in .safetensors; name another file")
    averaged, trained, told = _choose(read(checkpoint), checkpoint, raw=raw)
    found = infer(averaged)
    entry = _entry(found, heads, noise_std)
    recipe = TrainRecipe(model=entry, size=size)
    _check((averaged, trained), entry, size, checkpoint)
    spacing_mm = 256 / size if spacing_mm is None else spacing_mm
    if not spacing_mm > 0 or not window[0] < window[1]:
        raise UserError("--spacing-mm must be positive, and --window its lower end first")
    about = {"window": window, "nominal_hu": True, "spacing_mm": spacing_mm}
    weights.save(out, averaged, trained, recipe, about)
    write_json(out.with_suffix(".json"), {"status": "converted", "sha256": sha256(out)})
    print(
        f"{out}: {told} of {checkpoint}; patch {found.patch}, stride {found.stride}, width"
        f" {found.width}, depth {found.depth}, heads {entry.heads}; volumes of {size}^3 voxels of"
        f" {spacing_mm:g} mm, nominally {window[0]:g} to {window[1]:g} HU"
    )


def read(path: Path) -> dict[str, Any]:
    """What a checkpoint holds; nothing in it is run.

    Raises:
        UserError: no checkpoint, or a pickle of more than tensors and plain containers.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read the checkpoint {path}: {error}") from None
    except Exception as error:  # noqa: BLE001  # whatever a file that is no checkpoint provokes
        raise UserError(f"cannot read the checkpoint {path}: {_reason(error)}") from None
    if not isinstance(found, dict):
        raise UserError(f"the checkpoint {path} holds a {type(found).__name__}, no weights by name")
    return found


def _reason(error: Exception) -> str:
    refused = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
    if refused is None:
        return "it is no checkpoint of PyTorch, or damaged"
    return (
        f"it carries {refused[1]} beside tensors and plain containers, which could run code; where"
        " you trust it, save only its 'model' and 'ema' to a new file"
    )


def _choose(found: dict[str, Any], path: Path, *, raw: bool) -> tuple[State, State, str]:
    """(to sample from, as trained, what the first is called), under our names."""
    sets = {key: _renamed(found[key], path) for key in ("ema", "model") if found.get(key)}
    if not sets:
        bare = _renamed(found, path)
        return bare, bare, "the only weights"
    if len(sets) == 1:
        ((key, state),) = sets.items()
        return state, state, f'the only weights ("{key}")'
    if raw:
        return sets["model"], sets["model"], 'the raw weights ("model")'
    return sets["ema"], sets["model"], 'the averaged weights ("ema")'


def _renamed(state: Any, path: Path) -> State:
    tensors = isinstance(state, dict) and all(isinstance(t, Tensor) for t in state.values())
    if not tensors or not state:
        raise UserError(
            f'the checkpoint {path} must hold "ema" or "model", or be weights by name itself'
        )
    try:
        return {name: tensor.float() for name, tensor in from_released(state).items()}
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _entry(found: Architecture, heads: int | None, noise_std: float) -> Entry:
    if heads is None:
        if found.depth > 0 and found.width not in HEADS:
            raise UserError(f"width {found.width} is no released size; give the number of --heads")
        heads = HEADS.get(found.width, 1)  # at depth 0 there is no attention
    try:
        return Entry(
            start_from="released" if found.depth > 0 else None,
            depth=found.depth,
            width=found.width,
            heads=heads,
            patch=found.patch,
            stride=found.stride,
            first_timestep=0,
            noise_std=noise_std,
            training=Training(volumes=1),  # of this package there was none
        )
    except ValidationError as error:
        reasons = "; ".join(e["msg"].removeprefix("Value error, ") for e in error.errors())
        raise UserError(f"this package cannot build such a model: {reasons}") from None


def _check(states: tuple[State, State], entry: Entry, size: int, path: Path) -> None:
    """Raise UserError naming every tensor missing, surplus or of another shape."""
    if size < entry.stride or size % entry.stride:
        raise UserError(f"--size {size} is no multiple of the model's stride {entry.stride}")
    with torch.device("meta"):
        wanted = build(entry, size).network.state_dict()
    for state in states:
        wrong = weights.misfit(wanted, state)
        if wrong:
            raise UserError(f"the weights in {path} are no whole PRDiT; {wrong}")
