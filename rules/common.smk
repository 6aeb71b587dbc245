import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# The package is used from the repository, so that no environment needs to contain it.
sys.path.insert(0, str(Path(workflow.current_basedir).parent))

from prdit import experiments as plan
from prdit import instructions
from prdit import shards
from prdit.cli import STEPS
from prdit.config import Folder, ImagingDataCommons, Phantom, Zenodo
from prdit.config.file import load
from prdit.errors import UserError
from prdit.files import check_writable
from prdit.provenance import PACKAGE, code_digest, files_digest


def any_of(names):
    """Pattern that matches these names, and nothing if there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


try:
    if not Path("config/published.yaml").is_file():
        raise UserError("run snakemake in the repository's own folder")
    CONFIG = load(config)
    shards.check_sources(CONFIG)
    check_writable(Path("results", CONFIG.name))
except UserError as error:
    raise WorkflowError(str(error)) from None


pathvars:
    results=f"results/{CONFIG.name}",
    raw=CONFIG.raw_folder,


wildcard_constraints:
    dataset=any_of(CONFIG.datasets),
    model=any_of(CONFIG.models),
    sampler=any_of(CONFIG.samplers),
    size=r"\d+",
    rival=any_of(CONFIG.models),
    rival_sampler=any_of(CONFIG.samplers),
    critic=r"\d+",
    seed=r"\d+",
    shard=r"\d+",
    portion=r"\d+",


def code(step, *generators):
    """Digest of the code of a step, and of the generators that it may load by name."""
    return code_digest(STEPS[step], *(f"prdit.generators.{name}" for name in generators))


def recipe(make, *keys):
    """The recipe of a job: `make` from the config and the wildcards named."""
    return lambda wildcards: make(CONFIG, *(wildcards[key] for key in keys))


def of_kind(kind):
    """Pattern of the data sets whose source is of a kind."""
    return any_of(n for n, one in CONFIG.datasets.items() if isinstance(one.source, kind))


def start_from(wildcards):
    """Weights that a model builds on, if it does."""
    start = CONFIG.models[wildcards.model].start_from
    size = CONFIG.start_size(wildcards.model, int(wildcards.size))
    weights = rules.train.output.weights
    return collect(weights, model=start, size=size, allow_missing=True) if start else []


TAKEN = [name for name, model in CONFIG.models.items() if model.weights is not None]


def scores_of(table=None):
    """Scores that a table shows, or all; with each size, those of real against real volumes."""
    floors = (dict(dataset=d, size=n) for d, n in plan.scored_sizes(CONFIG, table))
    sets = (one._asdict() for one in plan.scored(CONFIG, table))
    return [
        *(path for one in floors for path in collect(rules.floor.output.score, **one)),
        *(path for one in sets for path in collect(rules.score.output.score, **one)),
    ]


def scores_of_taken(wildcards):
    """Scores of models whose weights the config gives."""
    sets = [one._asdict() for one in plan.scored(CONFIG) if one.model in TAKEN]
    if not sets:
        raise WorkflowError("no table shows a model whose `weights:` the config gives")
    return [path for one in sets for path in collect(rules.score.output.score, **one)]


def timings_of(table=None):
    """Timings that a table shows, or all."""
    sets = (one._asdict() for one in plan.timed(CONFIG, table))
    return [path for one in sets for path in collect(rules.time.output.timing, **one)]


def critics_of(table=None):
    """Scores of the critics that a table asks, or all."""
    asked = (one._asdict() for one in plan.pairs(CONFIG, table))
    return [path for one in asked for path in collect(rules.critic.output.score, **one)]


def records_of(table=None):
    """Records of the trainings that a table shows, or all, and of what they start from."""
    return [
        path
        for dataset, size, model in plan.trained(CONFIG, table)
        for path in collect(rules.train.output.record, dataset=dataset, size=size, model=model)
    ]


def sample_cards(wildcards, **others):
    """All portions of a set of samples."""
    portions = plan.portions(CONFIG, wildcards.size)
    return collect(rules.sample.output.card, portion=portions, **others, allow_missing=True)


def first_cards(samples):
    """The first portion of each of several sets of samples: enough to show."""
    return [
        path
        for one in samples
        for path in collect(
            rules.sample.output.card, portion=plan.portions(CONFIG, one.size)[0], **one._asdict()
        )
    ]


def figure_cards(wildcards):
    """The first portion of each set of samples that a figure shows."""
    return first_cards(plan.figure_samples(CONFIG, wildcards.figure, wildcards.dataset))


def figure_real(wildcards):
    """Real volumes of the edge of a figure's first row."""
    size = CONFIG.selections()[f"figures.{wildcards.figure}"].shown()[0].size
    return collect(rules.pack.output.array, size=size, allow_missing=True)
