"""What has to fit between the parts of a config: names, sizes, and models that build on others."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prdit.config.rivals import LDM3D, VQGAN
from prdit.config.selections import PAIRWISE

if TYPE_CHECKING:
    from prdit.config import BranchesShown, Config, RealShown, Selection, Shown

SHARED_WITH_STAGE_1 = (
    *("width", "patch", "stride"),
    *("timesteps", "noise_std", "first_timestep"),
)
"""A stage 2 has these in common with the Local Denoiser that it keeps."""

SHARED_BY_REFINED = ("width", "patch", "stride", "refiner_input")
"""A refined model has these in common with the refined one that it trains on."""

SHARED_BY_LATENT = ("width", "multiples", "timesteps")
"""A 3D-LDM has these in common with the one that it trains on."""

STARTS = {
    "prdit_refined": ("prdit", "prdit_refined"),
    "ldm_3d": ("vq_gan", "ldm_3d"),
}
"""What a generator can start from: a PRDiT, from a stage 1; those of the user's own, from any."""


def check(config: Config) -> None:
    """Raise ValueError, one sentence, at the first thing that does not fit."""
    for name, model in config.models.items():
        if model.start_from is not None:
            _known(f"models.{name}.start_from", model.start_from, config.models)
        for dataset in model.per_dataset:
            _known(f"models.{name}.per_dataset", dataset, config.datasets)
    on = {dataset: config.on(dataset) for dataset in config.datasets}
    for there in (config, *on.values()):
        for name in there.models:
            _check_chain(there, name)
    for where, selection in config.selections().items():
        _check_selection(config, on, where, selection)
    if config.figures.figure_15 is not None:
        _check_branches(config, config.figures.figure_15)
        _check_real(config, "figures.figure_15", config.figures.figure_15)
    if config.figures.figure_6 is not None:
        _check_real(config, "figures.figure_6", config.figures.figure_6)


def _check_real(config: Config, where: str, figure: RealShown) -> None:
    for dataset in figure.datasets:
        _known(f"{where}.datasets", dataset, config.datasets)
        _check_pools(where, figure.size, dataset, config.datasets[dataset].grid.size)


def _check_branches(config: Config, figure: BranchesShown) -> None:
    """The model of Figure 15 has both branches."""
    _known("figures.figure_15.model", figure.model, config.models)
    _known("figures.figure_15.sampler", figure.sampler, config.samplers)
    _check_tiles(config, "figures.figure_15", figure.size, figure.model)
    model: Any = config.models[figure.model]
    if model.generator != "prdit" or model.depth == 0 or not model.local:
        raise ValueError(
            f"figures.figure_15.model: {figure.model} has not both branches; name a PRDiT with"
            " depth > 0 and a stage 1"
        )
    if config.samplers[figure.sampler].kind == "own":
        raise ValueError("figures.figure_15.sampler: name one of another kind than own")


def check_model(config: Config, name: str, size: int) -> None:
    """Raise ValueError unless a model is in the config and can make volumes of edge `size`."""
    _known("the model", name, config.models)
    _check_tiles(config, "the model", size, name)


def suggest(name: str, choices: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the closest known one, or all of them."""
    known = sorted(choices)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known are: {', '.join(known)}" if known else ""


def _known(where: str, name: str, choices: Mapping[str, Any]) -> None:
    if name not in choices:
        raise ValueError(f"{where}: '{name}' is not defined{suggest(name, choices)}")


def _check_chain(config: Config, name: str) -> None:
    """A model's start_from leads to something it can build on, and not in a circle."""
    seen, model = [name], config.models[name]
    while model.start_from is not None:
        if model.start_from in seen:
            raise ValueError(
                f"models.{name}.start_from leads back to '{model.start_from}'; let one of"
                f" {', '.join(seen)} start from another model"
            )
        seen.append(model.start_from)
        start = config.models[model.start_from]
        if start.generator not in STARTS.get(model.generator, (start.generator,)):
            raise ValueError(
                f"models.{seen[-2]}.start_from: '{model.start_from}' is a {start.generator}; name"
                f" one of {' or '.join(STARTS[model.generator])}"
            )
        if model.generator == "prdit":
            _check_stage_1(seen[-2], model, start)
        elif start.generator == "prdit_refined":
            _check_same(seen[-2], model, start, SHARED_BY_REFINED, "which it trains on")
        elif start.generator == "ldm_3d":
            _check_same(seen[-2], model, start, SHARED_BY_LATENT, "which it trains on")
        model = start


def _check_stage_1(name: str, model: Any, start: Any) -> None:
    if start.generator != "prdit" or start.depth != 0:
        raise ValueError(
            f"models.{name}.start_from: '{model.start_from}' is no stage 1; name a model of depth 0"
        )
    reason = "whose Local Denoiser it starts from"
    _check_same(name, model, start, SHARED_WITH_STAGE_1, reason)


def _check_same(name: str, model: Any, start: Any, keys: Iterable[str], reason: str) -> None:
    for key in keys:
        mine, its = getattr(model, key), getattr(start, key)
        if mine != its:
            raise ValueError(
                f"models.{name}.{key} is {mine} but {its} in '{model.start_from}', {reason}; write"
                " the same value in both"
            )


def _check_selection(
    config: Config, on: Mapping[str, Config], where: str, selection: Selection
) -> None:
    for dataset in selection.datasets:
        _known(f"{where}.datasets", dataset, config.datasets)
    _known(f"{where}.sampler", selection.sampler, config.samplers)
    listed: dict[str, Sequence[Any]] = {
        "rows": list(selection.rows),
        "seeds": selection.seeds,
        "datasets": selection.datasets,
    }
    for what, names in listed.items():
        if len(set(names)) < len(names):
            raise ValueError(f"{where}.{what} has one entry twice; write each once")
    labels = {row.label: row for row in selection.shown()}
    if selection.anchor is not None:
        _known(f"{where}.anchor", selection.anchor, labels)
    if selection.anchor is not None or where == f"tables.{PAIRWISE}":
        _check_critic(where, selection)
    for row in selection.shown():
        _known(f"{where}.rows", row.model, config.models)
        _known(f"{where}.rows.{row.label}.sampler", row.sampler, config.samplers)
        for dataset in selection.datasets:
            _check_pools(where, row.size, dataset, config.datasets[dataset].grid.size)
            _check_tiles(on[dataset], where, row.size, row.model)
            _check_steps(on[dataset], where, row)


def _check_critic(where: str, selection: Selection) -> None:
    """Critics tell volumes of one size apart, which they halve down to 4^3."""
    sizes = {row.size for row in selection.shown()}
    if len(sizes) > 1:
        raise ValueError(
            f"{where}: W-scores compare volumes of one size, not of {sorted(sizes)}; write one size"
        )
    size = sizes.pop()
    if size < 8 or size & (size - 1):
        raise ValueError(f"{where}.size: {size} is no power of two from 8 on, which W-scores need")
    if len(set(selection.critics)) < len(selection.critics):
        raise ValueError(f"{where}.critics has one seed twice; write each once")


def _check_steps(config: Config, where: str, row: Shown) -> None:
    model: Any = config.models[row.model]
    sampler = config.samplers[row.sampler]
    if model.generator == "vq_gan":
        raise ValueError(
            f"{where}: models.{row.model} draws nothing; name a 3D-LDM that starts from it"
        )
    if (sampler.kind == "own") == (model.generator in ("prdit", "prdit_refined")):
        right = "another kind than own" if sampler.kind == "own" else "a sampler of kind own"
        raise ValueError(
            f"{where}: models.{row.model} is not drawn by samplers.{row.sampler}; it needs {right}"
        )
    of_process = getattr(config.base(row.model), "timesteps", sampler.steps)
    timesteps = getattr(model, "timesteps", of_process)
    if sampler.steps > timesteps:
        raise ValueError(
            f"{where}: samplers.{row.sampler}.steps is {sampler.steps}, more than the {timesteps}"
            f" timesteps of models.{row.model}; write {timesteps} at most"
        )


def _check_pools(where: str, size: int, dataset: str, cube: int) -> None:
    if cube % size:
        raise ValueError(
            f"{where}.size: {size} does not divide datasets.{dataset}.grid.size ({cube}), from"
            " which volumes are average-pooled"
        )


def _check_tiles(config: Config, where: str, size: int, name: str) -> None:
    """Blocks fill the volumes of a model and of those it builds on, and reflections reach."""
    model = config.models[name]
    base = config.base(name)
    misfit = model.misfit(name, size)
    if isinstance(model, LDM3D) and isinstance(base, VQGAN):
        misfit = model.misfit_on(name, size, base)
    if misfit is not None:
        raise ValueError(f"{where}.size: {size} {misfit}")
    if model.start_from is None:
        return
    start_size = config.start_size(name, size)
    if start_size != size and size % 2:
        raise ValueError(
            f"{where}.size: {size} is odd, but models.{name} needs half of it; write an even size"
        )
    try:
        _check_tiles(config, where, start_size, model.start_from)
    except ValueError as error:
        if start_size == size:
            raise
        raise ValueError(f"{error} (models.{name} at {size} builds on half its edge)") from None
