"""What a config asks for: which jobs exist, and the recipe of each.

A table or figure selects scores or samples; whatever it selects has to be made. Snakemake's rules
ask here and nowhere else. No torch, no files but manifests: a plan takes a second.
"""

from __future__ import annotations

from itertools import combinations, product
from typing import NamedTuple

import yaml

from prdit import recipes
from prdit.config import (
    Backbone,
    Config,
    Dataset,
    Entry,
    ImagingDataCommons,
    Model,
    PRDiT,
    RealShown,
    Selection,
    Zenodo,
)
from prdit.shards import extent, numbered

TIMES = "table_6"
"""The table that shows seconds per volume, not scores."""
PAIRWISE = "table_11"
"""The table of W-scores of every pair of rows."""
REPEATS = 10
"""Volumes that are timed, as in the paper's Table 6."""
FLOOR = "Real data"
"""The "model" whose scores compare real volumes with other real ones."""


class Sampled(NamedTuple):
    """One set of samples: what its path consists of, in order."""

    dataset: str
    size: int
    model: str
    sampler: str
    seed: int


def sampled(selection: Selection) -> list[Sampled]:
    """Every set of samples that a table or figure shows."""
    return [
        Sampled(dataset, row.size, row.model, row.sampler, seed)
        for dataset in selection.datasets
        for row in selection.shown()
        for seed in selection.seeds
    ]


class Pair(NamedTuple):
    """Two models between which a critic judges: what its path consists of, in order."""

    dataset: str
    size: int
    seed: int
    """Of the samples."""
    model: str
    sampler: str
    rival: str
    rival_sampler: str
    critic: int
    """Seed of the critic."""


def pairs(config: Config) -> list[Pair]:
    """Every critic that some table asks, once each; the two models in order of their names."""
    found = set()
    for place, selection in config.selections().items():
        rows = {row.label: (row.model, row.sampler) for row in selection.shown()}
        if place == f"tables.{PAIRWISE}":
            wanted = set(combinations(sorted(set(rows.values())), 2))
        else:
            anchors = [rows[selection.anchor]] if selection.anchor else []
            both = ((min(a, b), max(a, b)) for a, b in product(anchors, rows.values()))
            wanted = {(a, b) for a, b in both if a != b}
        size, seed = selection.shown()[0].size, selection.seeds[0]
        for dataset, pair, critic in product(selection.datasets, wanted, selection.critics):
            found.add(Pair(dataset, size, seed, *pair[0], *pair[1], critic))
    return sorted(found)


def tables(config: Config) -> list[str]:
    """Tables that the config asks for."""
    return _asked(config, "tables")


def figures(config: Config) -> list[tuple[str, str]]:
    """Figures that the config asks for, one per data set: (figure, dataset)."""
    chosen = config.selections()
    names = _asked(config, "figures")
    return [(name, dataset) for name in names for dataset in chosen[f"figures.{name}"].datasets]


def shown(figure: RealShown | None) -> list[str]:
    """Data sets of a figure that is no selection of samples."""
    return [] if figure is None else figure.datasets


def _asked(config: Config, group: str) -> list[str]:
    places = (where.split(".") for where in config.selections())
    return [name for found, name in places if found == group]


def scored(config: Config) -> list[Sampled]:
    """Every set of samples that some table scores, once each."""
    return _of_tables(config, [n for n in tables(config) if n not in (TIMES, PAIRWISE)])


def timed(config: Config) -> list[Sampled]:
    """Every model and sampler whose time per volume a table shows, once each."""
    return _of_tables(config, [name for name in tables(config) if name == TIMES])


def _of_tables(config: Config, names: list[str]) -> list[Sampled]:
    chosen = config.selections()
    found = [sampled(chosen[f"tables.{name}"]) for name in names if f"tables.{name}" in chosen]
    return sorted({one for some in found for one in some})


def scored_sizes(config: Config) -> list[tuple[str, int]]:
    """Every (dataset, size) that needs a floor: real volumes scored against other real ones."""
    return sorted({(one.dataset, one.size) for one in scored(config)})


def portions(config: Config) -> list[str]:
    """Portions that a set of samples is drawn in."""
    return numbered(config.sampling.volumes, config.sampling.volumes_per_job)


def train_recipe(config: Config, dataset: str, model: str, size: str) -> str:
    """Recipe of the training of a model on a data set."""
    there = config.on(dataset)
    entry, base = there.models[model], there.base(model)
    return _json(recipes.TrainRecipe(model=entry, size=int(size), base=base))


def sample_recipe(config: Config, sampler: str, seed: str, portion: str) -> str:
    """Recipe of a portion of samples."""
    part = extent(portion, config.sampling.volumes, config.sampling.volumes_per_job)
    chosen = config.samplers[sampler]
    return _json(recipes.SampleRecipe(sampler=chosen, seed=int(seed), **part))


def time_recipe(config: Config, dataset: str, size: str, model: str, sampler: str) -> str:
    """Recipe of the timing of a model and sampler."""
    return _json(
        recipes.TimeRecipe(
            dataset=dataset,
            size=int(size),
            model=model,
            name=sampler,
            sampler=config.samplers[sampler],
            repeats=REPEATS,
        )
    )


def feature_weights(config: Config) -> list[str]:
    """Files of weights of feature networks."""
    networks = (config.evaluation, config.evaluation.beside)
    return sorted({one.weights for one in networks if one is not None and one.weights})


def perceptual_weights(model: Model) -> list[str]:
    """Files of weights of the network that a training compares images by, if it does."""
    folder = getattr(model, "perceptual", None)
    return [f"{folder}/{name}" for name in ("vgg16-397923af.pth", "lpips_vgg.pth") if folder]


def published_weights(config: Config) -> list[str]:
    """All files of weights that others have published."""
    compared = {path for model in config.models.values() for path in perceptual_weights(model)}
    return sorted({*feature_weights(config), *compared})


def features_recipe(config: Config) -> str:
    """Recipe of the features of any set of volumes."""
    chosen = config.evaluation
    main = Backbone(network=chosen.network, weights=chosen.weights)
    return _json(recipes.FeaturesRecipe(network=main, beside=chosen.beside))


def score_recipe(
    config: Config, dataset: str, size: str, model: str = FLOOR, sampler: str = "-", seed: str = "0"
) -> str:
    """Recipe of a score: of a set of samples, or by default of the floor."""
    return _json(
        recipes.ScoreRecipe(
            dataset=dataset,
            size=int(size),
            model=model,
            sampler=sampler,
            seed=int(seed),
            reference=config.evaluation.reference,
            volumes=config.sampling.volumes,
        )
    )


def critic_recipe(
    config: Config,
    dataset: str,
    size: str,
    seed: str,
    model: str,
    sampler: str,
    rival: str,
    rival_sampler: str,
    number: str,
) -> str:
    """Recipe of a critic between two sets of samples."""
    critic = config.evaluation.critic
    training = critic.training.model_copy(update={"seed": int(number)})
    return _json(
        recipes.CriticRecipe(
            dataset=dataset,
            size=int(size),
            seed=int(seed),
            models=[(model, sampler), (rival, rival_sampler)],
            critic=critic.model_copy(update={"training": training}),
        )
    )


def table_recipe(config: Config, table: str) -> str:
    """Recipe of a table."""
    selection = config.selections()[f"tables.{table}"]
    chosen = {name: config.datasets[name] for name in selection.datasets}
    return _json(
        recipes.TableRecipe(
            table=table,
            datasets={name: _shown(one) for name, one in chosen.items()},
            rows=selection.shown(),
            seeds=selection.seeds,
            floor=FLOOR,
            anchor={row.label: row for row in selection.shown()}.get(selection.anchor or ""),
            critics=selection.critics,
            trainings={row.label: chain(config, row.model, row.size) for row in selection.shown()},
        )
    )


def has_settings(config: Config) -> bool:
    """Whether there are models whose settings Tables 9 and 10 tell."""
    return bool(recipes.SettingsRecipe.model_validate_json(settings_recipe(config)).models)


def settings_recipe(config: Config) -> str:
    """Recipe of the tables of settings."""
    found = {}
    for dataset, size, name in sorted({one[:3] for one in _of_tables(config, ["table_1"])}):
        for _, part in chain(config, name, size):
            found[dataset, part] = config.on(dataset).models[part]
    prdits = [model for model in found.values() if isinstance(model, PRDiT)]
    return _json(recipes.SettingsRecipe(models=sorted(prdits, key=lambda m: (m.width, m.depth))))


def _shown(dataset: Dataset) -> recipes.ShownData:
    papers = isinstance(dataset.source, (ImagingDataCommons, Zenodo))
    return recipes.ShownData(label=dataset.label, published=dataset.published, papers=papers)


def chain(config: Config, model: str, size: int) -> list[tuple[int, str]]:
    """Size and model of each training that a model builds on, the first first, and its own."""
    start = config.models[model].start_from
    before = chain(config, start, config.start_size(model, size)) if start else []
    return [*before, (size, model)]


def trained(config: Config) -> list[tuple[str, int, str]]:
    """(data set, size, model) of every training that a table shows, once each."""
    shown = {one[:3] for one in (*scored(config), *timed(config))}
    return sorted({(d, n, m) for d, size, model in shown for n, m in chain(config, model, size)})


def figure_recipe(config: Config, figure: str, dataset: str) -> str:
    """Recipe of a figure of a data set."""
    rows = config.selections()[f"figures.{figure}"].shown()
    label = config.datasets[dataset].label
    labels = [row.label for row in rows]
    return _json(recipes.FigureRecipe(figure=figure, dataset=label, rows=labels))


def cavities_recipe(config: Config, dataset: str) -> str:
    """Recipe of the figure of cavities in real volumes (Figure 6)."""
    return _json(recipes.CavitiesRecipe(dataset=config.datasets[dataset].label))


def branches_recipe(config: Config, dataset: str) -> str:
    """Recipe of what the branches of a model add up from (Figure 15)."""
    shown = config.figures.figure_15
    assert shown is not None
    label, sampler = config.datasets[dataset].label, config.samplers[shown.sampler]
    return _json(recipes.BranchesRecipe(dataset=label, model=shown.model, sampler=sampler))


def viewed(config: Config) -> tuple[list[tuple[str, int]], list[Sampled]]:
    """What the report's viewer shows: real volumes, and the sets of Tables 1 and 2, a seed each."""
    chosen = config.selections()
    found: dict[tuple[str, int, str, str], Sampled] = {}
    for name in ("table_1", "table_2"):
        for one in sampled(chosen[f"tables.{name}"]) if f"tables.{name}" in chosen else []:
            found.setdefault(one[:4], one)
    sets = sorted({(one.dataset, one.size) for one in found.values()})
    return sets, list(found.values())


def site_recipe(config: Config) -> str:
    """Recipe of the report."""
    chosen = config.selections()
    names = [name for name in tables(config) if name not in (TIMES, PAIRWISE)]
    floor = FLOOR.replace(" ", "-")
    cards = {}
    for name in names:
        sets = sampled(chosen[f"tables.{name}"])
        floors = sorted({(one.dataset, one.size, floor, "-", 0) for one in sets})
        cards[name] = [*map(tuple, sets), *floors]
    reals, samples = viewed(config)
    labels = {name: one.label for name, one in config.datasets.items()}
    settings = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, width=120)
    return _json(
        recipes.SiteRecipe(
            name=config.name,
            config=settings,
            cards=cards,
            reals=[f"{labels[dataset]} {size}^3" for dataset, size in reals],
            samples=[f"{labels[s.dataset]} {s.size}^3, {s.model}" for s in samples],
        )
    )


def quality_recipe(config: Config, dataset: str) -> str:
    """Recipe of the page that shows what became of a data set's series."""
    chosen = config.datasets[dataset]
    return _json(recipes.QualityRecipe(dataset=chosen.label, grid=chosen.grid))


def figure_samples(config: Config, figure: str, dataset: str) -> list[Sampled]:
    """The sets of samples that a figure of a data set shows, a row each: of the first seed."""
    selection = config.selections()[f"figures.{figure}"]
    one_seed = selection.model_copy(update={"datasets": [dataset], "seeds": selection.seeds[:1]})
    return sampled(one_seed)


def _json(recipe: Entry) -> str:
    return recipe.model_dump_json()
