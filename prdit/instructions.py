"""What each job is told: its recipe, from the config. Those of raw scans stand in `shards`."""

from __future__ import annotations

from prdit import recipes
from prdit.config import (
    Backbone,
    Config,
    Dataset,
    Folder,
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
from prdit.shards import extent, scan_count


def record_recipe(config: Config, dataset: str) -> recipes.RecordRecipe:
    """Recipe of the list of a record's files."""
    source = config.datasets[dataset].source
    assert isinstance(source, Zenodo)
    return recipes.RecordRecipe(url=source.url, record=source.record, scans=source.scans)


def preprocess_recipe(config: Config, dataset: str) -> recipes.PreprocessRecipe:
    """Recipe of the resampling of a shard."""
    chosen = config.datasets[dataset]
    return recipes.PreprocessRecipe(grid=chosen.grid, array=chosen.source.bare())


def ledger_recipe(config: Config, dataset: str) -> recipes.LedgerRecipe:
    """Recipe of the split by patient."""
    chosen = config.datasets[dataset]
    known = None if isinstance(chosen.source, Folder) else scan_count(config, dataset)
    return recipes.LedgerRecipe(series=known, split=chosen.split, max_excluded=chosen.max_excluded)


def pack_recipe(config: Config, dataset: str, size: str) -> recipes.PackRecipe:
    """Recipe of the packing of volumes of one size."""
    window = config.datasets[dataset].window
    return recipes.PackRecipe(size=int(size), window=window)


def train_recipe(config: Config, dataset: str, model: str, size: str) -> recipes.TrainRecipe:
    """Recipe of the training of a model on a data set."""
    there = config.on(dataset)
    entry, base = there.models[model], there.base(model)
    return recipes.TrainRecipe(model=entry, size=int(size), base=base)


def sample_recipe(
    config: Config, size: str, sampler: str, seed: str, portion: str
) -> recipes.SampleRecipe:
    """Recipe of a portion of samples."""
    part = extent(portion, config.sampling.volumes, config.sampling.portion(int(size)))
    chosen = config.samplers[sampler]
    return recipes.SampleRecipe(sampler=chosen, seed=int(seed), **part)


def time_recipe(
    config: Config, dataset: str, size: str, model: str, sampler: str
) -> recipes.TimeRecipe:
    """Recipe of the timing of a model and sampler."""
    return recipes.TimeRecipe(
        dataset=dataset,
        size=int(size),
        model=model,
        name=sampler,
        sampler=config.samplers[sampler],
        repeats=REPEATS,
    )


def features_recipe(config: Config) -> recipes.FeaturesRecipe:
    """Recipe of the features of any set of volumes."""
    chosen = config.evaluation
    main = Backbone(network=chosen.network, weights=chosen.weights)
    return recipes.FeaturesRecipe(network=main, beside=chosen.beside)


def score_recipe(
    config: Config, dataset: str, size: str, model: str = FLOOR, sampler: str = "-", seed: str = "0"
) -> recipes.ScoreRecipe:
    """Recipe of a score: of a set of samples, or by default of the floor."""
    return recipes.ScoreRecipe(
        dataset=dataset,
        size=int(size),
        model=model,
        sampler=sampler,
        seed=int(seed),
        reference=config.evaluation.reference,
        volumes=config.sampling.volumes,
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
) -> recipes.CriticRecipe:
    """Recipe of a critic between two sets of samples."""
    critic = config.evaluation.critic
    training = critic.training.model_copy(update={"seed": int(number)})
    return recipes.CriticRecipe(
        dataset=dataset,
        size=int(size),
        seed=int(seed),
        models=[(model, sampler), (rival, rival_sampler)],
        critic=critic.model_copy(update={"training": training}),
    )


def table_recipe(config: Config, table: str) -> recipes.TableRecipe:
    """Recipe of a table."""
    selection = config.selections()[f"tables.{table}"]
    chosen = {name: config.datasets[name] for name in selection.datasets}
    return recipes.TableRecipe(
        table=table,
        datasets={name: _shown(one) for name, one in chosen.items()},
        rows=selection.shown(),
        seeds=selection.seeds,
        anchor={row.label: row for row in selection.shown()}.get(selection.anchor or ""),
        critics=selection.critics,
        trainings={row.label: chain(config, row.model, row.size) for row in selection.shown()},
    )


def has_settings(config: Config) -> bool:
    """Whether there are models whose settings Tables 9 and 10 tell."""
    return bool(settings_recipe(config).models)


def settings_recipe(config: Config) -> recipes.SettingsRecipe:
    """Recipe of the tables of settings."""
    found = {}
    for dataset, size, name in sorted({one[:3] for one in of_tables(config, ["table_1"])}):
        for _, part in chain(config, name, size):
            found[dataset, part] = config.on(dataset).models[part]
    prdits = [model for model in found.values() if isinstance(model, PRDiT)]
    return recipes.SettingsRecipe(models=sorted(prdits, key=lambda m: (m.width, m.depth)))


def _shown(dataset: Dataset) -> recipes.ShownData:
    papers = isinstance(dataset.source, (ImagingDataCommons, Zenodo))
    return recipes.ShownData(label=dataset.label, published=dataset.published, papers=papers)


def figure_recipe(config: Config, figure: str, dataset: str) -> recipes.FigureRecipe:
    """Recipe of a figure of a data set."""
    rows = config.selections()[f"figures.{figure}"].shown()
    label = config.datasets[dataset].label
    labels = [row.label for row in rows]
    return recipes.FigureRecipe(figure=figure, dataset=label, rows=labels)


def cavities_recipe(config: Config, dataset: str) -> recipes.CavitiesRecipe:
    """Recipe of the figure of cavities in real volumes (Figure 6)."""
    return recipes.CavitiesRecipe(dataset=config.datasets[dataset].label)


def branches_recipe(config: Config, dataset: str) -> recipes.BranchesRecipe:
    """Recipe of what the branches of a model add up from (Figure 15)."""
    shown = config.figures.figure_15
    assert shown is not None
    label, sampler = config.datasets[dataset].label, config.samplers[shown.sampler]
    return recipes.BranchesRecipe(dataset=label, model=shown.model, sampler=sampler)


def provenance_recipe(config: Config) -> recipes.ProvenanceRecipe:
    """Recipe of the record of where everything came from."""
    return recipes.ProvenanceRecipe(config=config.model_dump(mode="json"))


def site_recipe(config: Config) -> recipes.SiteRecipe:
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
    return recipes.SiteRecipe(
        name=config.name,
        cards=cards,
        reals=[f"{labels[dataset]} {size}^3" for dataset, size in reals],
        samples=[f"{labels[s.dataset]} {s.size}^3, {s.model}" for s in samples],
    )


def quality_recipe(config: Config, dataset: str) -> recipes.QualityRecipe:
    """Recipe of the page that shows what became of a data set's series."""
    chosen = config.datasets[dataset]
    return recipes.QualityRecipe(dataset=chosen.label, grid=chosen.grid)
