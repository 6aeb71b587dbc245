"""What each job is told: its recipe, from the config, as JSON."""

from __future__ import annotations

from prdit import recipes
from prdit.config import (
    Backbone,
    Config,
    Dataset,
    Entry,
    ImagingDataCommons,
    PRDiT,
    Zenodo,
)
from prdit.config.selections import FLOOR, PAIRWISE, TIMES
from prdit.experiments import (
    REPEATS,
    chain,
    of_tables,
    sampled,
    tables,
    viewed,
)
from prdit.shards import extent


def train_recipe(config: Config, dataset: str, model: str, size: str) -> str:
    """Recipe of the training of a model on a data set."""
    there = config.on(dataset)
    entry, base = there.models[model], there.base(model)
    return _json(recipes.TrainRecipe(model=entry, size=int(size), base=base))


def sample_recipe(config: Config, size: str, sampler: str, seed: str, portion: str) -> str:
    """Recipe of a portion of samples."""
    part = extent(portion, config.sampling.volumes, config.sampling.portion(int(size)))
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
    for dataset, size, name in sorted({one[:3] for one in of_tables(config, ["table_1"])}):
        for _, part in chain(config, name, size):
            found[dataset, part] = config.on(dataset).models[part]
    prdits = [model for model in found.values() if isinstance(model, PRDiT)]
    return _json(recipes.SettingsRecipe(models=sorted(prdits, key=lambda m: (m.width, m.depth))))


def _shown(dataset: Dataset) -> recipes.ShownData:
    papers = isinstance(dataset.source, (ImagingDataCommons, Zenodo))
    return recipes.ShownData(label=dataset.label, published=dataset.published, papers=papers)


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


def provenance_recipe(config: Config) -> str:
    """Recipe of the record of where everything came from."""
    whole = config.model_dump(mode="json")
    return _json(recipes.ProvenanceRecipe(name=config.name, config=whole))


def site_recipe(config: Config) -> str:
    """Recipe of the report."""
    chosen = config.selections()
    names = [name for name in tables(config) if name not in (TIMES, PAIRWISE)]
    cards = {}
    for name in names:
        sets = sampled(chosen[f"tables.{name}"])
        floors = sorted({(one.dataset, one.size, FLOOR, "-", 0) for one in sets})
        cards[name] = [*map(tuple, sets), *floors]
    reals, samples = viewed(config)
    labels = {name: one.label for name, one in config.datasets.items()}
    return _json(
        recipes.SiteRecipe(
            name=config.name,
            cards=cards,
            reals=[f"{labels[dataset]} {size}^3" for dataset, size in reals],
            samples=[f"{labels[s.dataset]} {s.size}^3, {s.model}" for s in samples],
        )
    )


def quality_recipe(config: Config, dataset: str) -> str:
    """Recipe of the page that shows what became of a data set's series."""
    chosen = config.datasets[dataset]
    return _json(recipes.QualityRecipe(dataset=chosen.label, grid=chosen.grid))


def _json(recipe: Entry) -> str:
    return recipe.model_dump_json()
