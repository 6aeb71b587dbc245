"""Weights that were trained elsewhere, as a step of the workflow: in place of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from prdit.data.store import Store, open_store
from prdit.errors import UserError
from prdit.files import atomic, sha256, write_json
from prdit.generators import weights as weights_file
from prdit.generators.base import Generator, build
from prdit.generators.convert import read
from prdit.recipes import TrainRecipe


def run(
    recipe: TrainRecipe, *, file: Path, volumes: Path, weights: Path, record: Path, history: Path
) -> None:
    """Put the weights of `file` where a training would have put its own.

    Args:
        file: of this package (.safetensors), or as the authors of a model published it.
        volumes: the data set's packed array: what is drawn will be in its window.
        weights: to write.
        record: JSON to write: status (taken), sha256 of both files.
        history: to write, empty: nothing is known of the training.

    Raises:
        UserError: the file cannot be read, is not the one the config means, or does not fit the
            model or the data set.
    """
    given, wanted = sha256(file), recipe.model.sha256
    if wanted not in (None, given):
        raise UserError(f"{file} has sha256 {given}, not {wanted}: it is another file")
    store = open_store(volumes)
    generator = build(recipe.model, recipe.size, recipe.base)
    averaged, raw, nominal = chosen(file, generator, recipe, store)
    about = {
        "window": store.window,
        "nominal_hu": nominal,
        "spacing_mm": store.spacing_mm,
        "cohort": store.cohort,
        "taken_from": given,
    }
    weights_file.fit(generator.network, averaged, f"the weights in {file}")
    weights_file.save(weights, averaged, raw, recipe, about)
    with atomic(history) as unfinished:
        unfinished.touch()
    told = {"status": "taken", "sha256": sha256(weights), "taken_from": about["taken_from"]}
    write_json(record, {**told, "file": str(file), "cohort": store.cohort})


def chosen(
    file: Path, generator: Generator, recipe: TrainRecipe, store: Store
) -> tuple[dict[str, Tensor], dict[str, Tensor], bool]:
    """The averaged weights and those as trained, by the names of the generator's network.

    Beside them: whether the HU of what they draw are but nominal, as those of authors' weights are,
    and of a file that does not tell.
    """
    if not weights_file.is_one(file):
        state = generator.from_authors(read(file), file)
        return state, state, True
    about = weights_file.told(file)
    if "oom" in about:
        raise UserError(f"{file} holds no weights: its training ran out of memory; name another")
    made = {key: about.get(key) for key in ("size", "spacing_mm", "window")}
    here: dict[str, Any] = {
        "size": recipe.size,
        "spacing_mm": store.spacing_mm,
        "window": list(store.window),
    }
    if made != here:
        raise UserError(
            f"{file} makes volumes of {in_words(made)}, but this data set's are of"
            f" {in_words(here)}; change the data set's grid and window, or the size"
        )
    return *weights_file.state_of(file), bool(about.get("nominal_hu", True))


def in_words(made: dict[str, Any]) -> str:
    """Size, spacing and window as a phrase."""
    low, high = made["window"]
    return f"{made['size']}^3 voxels of {made['spacing_mm']:g} mm, {low:g} to {high:g} HU"
