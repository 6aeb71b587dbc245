"""A trained generator as one safetensors file that says how to rebuild it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from prdit.errors import OutOfMemory, UserError
from prdit.files import atomic
from prdit.generators.base import Generator, build
from prdit.recipes import TrainRecipe

RAW = "raw."
"""Prefix of the weights before averaging, which stand beside the averaged ones."""


def save(
    path: Path,
    averaged: dict[str, Tensor],
    raw: dict[str, Tensor],
    recipe: TrainRecipe,
    about: dict[str, Any],
) -> None:
    """Write weights with all that rebuilds their generator.

    Args:
        averaged: what sampling uses, the whole state of the network.
        raw: the same as trained; only what differs is written.
        about: of the volumes it makes: window, nominal_hu, spacing_mm, cohort.

    Raises:
        UserError: a weight is not finite, or the file cannot be written.
    """
    differing = {n: t for n, t in raw.items() if not torch.equal(t, averaged[n])}
    state = averaged | {RAW + name: tensor for name, tensor in differing.items()}
    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in state.items()}
    told = {**about, "recipe": recipe.model_dump(mode="json")}
    broken = sorted(name for name, tensor in tensors.items() if not tensor.isfinite().all())
    if broken:
        raise UserError(
            f"{path} is not written: {', '.join(broken)} hold values that are not finite; train"
            " anew, with a smaller learning rate"
        )
    with atomic(path) as partial:
        try:
            save_file(tensors, partial, metadata={"prdit": json.dumps(told, sort_keys=True)})
        except SafetensorError as error:
            raise OSError(str(error)) from None
        partial.chmod(0o644)  # safetensors leaves it readable by its owner alone


def save_nothing(path: Path, recipe: TrainRecipe, asked: str) -> None:
    """Write the file of a model that is too large to train, so that later steps can say so."""
    told = {"recipe": recipe.model_dump(mode="json"), "oom": asked}
    with atomic(path) as partial:
        save_file({}, partial, metadata={"prdit": json.dumps(told, sort_keys=True)})


def load(path: Path, device: str = "cpu", *, raw: bool = False) -> tuple[Generator, dict[str, Any]]:
    """The generator of a weights file, and what the file says of it: size, window, spacing_mm.

    Args:
        raw: the weights as trained, instead of the averaged ones.

    Raises:
        UserError: not a weights file of this package, or its tensors do not fit.
        OutOfMemory: the model was too large to train.
    """
    try:
        about = _about(path)
        recipe = TrainRecipe.model_validate(about.pop("recipe"))
        averaged, trained = state_of(path, device)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{path} is no weights file of prdit ({error}); train it again") from None
    if "oom" in about:
        raise OutOfMemory(about["oom"])
    generator = build(recipe.model, recipe.size, recipe.base)
    fit(generator.network, trained if raw else averaged, f"the weights in {path}")
    generator.network.to(device).eval()
    return generator, {**about, "size": recipe.size}


def is_one(path: Path) -> bool:
    """Whether a file is a weights file of this package."""
    try:
        with safe_open(path, framework="pt") as file:
            return "prdit" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def state_of(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The averaged weights of a file, and those as trained."""
    with safe_open(path, framework="pt", device=device) as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    averaged = {name: t for name, t in state.items() if not name.startswith(RAW)}
    differing = {n.removeprefix(RAW): t for n, t in state.items() if n.startswith(RAW)}
    return averaged, averaged | differing


def told(path: Path) -> dict[str, Any]:
    """What a weights file says of the volumes of its generator: size, window, spacing_mm."""
    about = _about(path)
    return {"size": about.pop("recipe")["size"], **about}


def _about(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        found: dict[str, Any] = json.loads((file.metadata() or {})["prdit"])
    return found


def fit(network: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Put tensors into a network.

    Args:
        what: what the tensors are, a plural that begins the sentence of the error.

    Raises:
        UserError: they do not fit; it names every one that does not.
    """
    wrong = misfit(network.state_dict(), state)
    if wrong:
        raise UserError(
            f"{what} do not fit: {wrong}; give the model the settings that they were trained with,"
            " or train them again"
        )
    network.load_state_dict(state)


def misfit(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """Every tensor that keeps a state from being the one that is wanted; empty if it fits."""
    both = set(wanted) & set(state)
    kinds = {
        "missing": set(wanted) - both,
        "surplus": set(state) - both,
        "of another shape": {name for name in both if wanted[name].shape != state[name].shape},
    }
    return "; ".join(
        f"{kind}: {', '.join(sorted(names))}" for kind, names in kinds.items() if names
    )
