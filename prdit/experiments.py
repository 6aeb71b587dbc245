"""What a config asks for: which jobs exist.

A table or figure selects scores or samples; whatever it selects has to be made. Snakemake's rules
ask here; what each job is told stands in `prdit.instructions`. No torch and no files: a plan takes
a second.
"""

from __future__ import annotations

from itertools import combinations, product
from typing import NamedTuple

from prdit.config import Config, Model, RealShown, Selection
from prdit.config.selections import PAIRWISE, TIMES
from prdit.published_weights import LPIPS, VGG
from prdit.shards import numbered

REPEATS = 10
"""Volumes that are timed, as in the paper's Table 6."""


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


def pairs(config: Config, table: str | None = None) -> list[Pair]:
    """Every critic that a table asks, or any, once each; two models in order of their names."""
    found = set()
    for place, selection in config.selections().items():
        if table is not None and place != f"tables.{table}":
            continue
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


class Figure(NamedTuple):
    """One figure of samples: what its path consists of."""

    figure: str
    dataset: str


def figures(config: Config) -> list[Figure]:
    """Figures of samples that the config asks for, one per data set."""
    chosen = config.selections()
    names = _asked(config, "figures")
    return [
        Figure(name, dataset) for name in names for dataset in chosen[f"figures.{name}"].datasets
    ]


def shown(figure: RealShown | None) -> list[str]:
    """Data sets of a figure that is no selection of samples."""
    return [] if figure is None else figure.datasets


def _asked(config: Config, group: str) -> list[str]:
    places = (where.split(".") for where in config.selections())
    return [name for found, name in places if found == group]


def scored(config: Config, table: str | None = None) -> list[Sampled]:
    """Every set of samples that a table scores, or any, once each."""
    names = [name for name in tables(config) if name not in (TIMES, PAIRWISE)]
    return of_tables(config, [name for name in names if table in (None, name)])


def timed(config: Config, table: str | None = None) -> list[Sampled]:
    """Every model and sampler whose time per volume a table shows, or any, once each."""
    return of_tables(config, [TIMES] if table in (None, TIMES) else [])


def of_tables(config: Config, names: list[str]) -> list[Sampled]:
    """Every set of samples that these tables show, once each, as far as the config has them."""
    chosen = config.selections()
    found = [sampled(chosen[f"tables.{name}"]) for name in names if f"tables.{name}" in chosen]
    return sorted({one for some in found for one in some})


class Real(NamedTuple):
    """Real volumes of one size: what their path consists of, in order."""

    dataset: str
    size: int


def scored_sizes(config: Config, table: str | None = None) -> list[Real]:
    """Every size of a data set that needs a floor: real volumes scored against other real ones."""
    return sorted({Real(one.dataset, one.size) for one in scored(config, table)})


def portions(config: Config, size: str) -> list[str]:
    """Portions that a set of samples is drawn in."""
    return numbered(config.sampling.volumes, config.sampling.portion(int(size)))


def feature_weights(config: Config) -> list[str]:
    """Files of weights of feature networks."""
    networks = (config.evaluation, config.evaluation.beside)
    return sorted({one.weights for one in networks if one is not None and one.weights})


def perceptual_weights(model: Model) -> list[str]:
    """Files of weights of the network that a training compares images by, if it does."""
    folder = getattr(model, "perceptual", None)
    return [f"{folder}/{name}" for name in (VGG, LPIPS) if folder]


def published_weights(config: Config) -> list[str]:
    """All files of weights that others have published."""
    compared = {path for model in config.models.values() for path in perceptual_weights(model)}
    return sorted({*feature_weights(config), *compared})


def chain(config: Config, model: str, size: int) -> list[tuple[int, str]]:
    """Size and model of each training that a model builds on, the first first, and its own."""
    start = config.models[model].start_from
    before = chain(config, start, config.start_size(model, size)) if start else []
    return [*before, (size, model)]


class Trained(NamedTuple):
    """One training: what its path consists of, in order."""

    dataset: str
    size: int
    model: str


def trained(config: Config, table: str | None = None) -> list[Trained]:
    """Every training that a table shows, or any, once each."""
    shown = {one[:3] for one in (*scored(config, table), *timed(config, table))}
    return sorted({Trained(d, *one) for d, n, model in shown for one in chain(config, model, n)})


def viewed(config: Config) -> tuple[list[Real], list[Sampled]]:
    """What the report's viewer shows: real volumes, and the sets of Tables 1 and 2, a seed each."""
    chosen = config.selections()
    found: dict[tuple[str, int, str, str], Sampled] = {}
    for name in ("table_1", "table_2"):
        for one in sampled(chosen[f"tables.{name}"]) if f"tables.{name}" in chosen else []:
            found.setdefault(one[:4], one)
    reals = sorted({Real(one.dataset, one.size) for one in found.values()})
    return reals, list(found.values())


def figure_samples(config: Config, figure: str, dataset: str) -> list[Sampled]:
    """The sets of samples that a figure of a data set shows, a row each: of the first seed."""
    selection = config.selections()[f"figures.{figure}"]
    one_seed = selection.model_copy(update={"datasets": [dataset], "seeds": selection.seeds[:1]})
    return sampled(one_seed)
