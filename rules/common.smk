import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# The package is used from the repository, so that no environment needs to contain it.
sys.path.insert(0, str(Path(workflow.current_basedir).parent))

from prdit import experiments, instructions, shards
from prdit.cli import STEPS
from prdit.config import Folder, ImagingDataCommons, Phantom, Zenodo
from prdit.config.file import load
from prdit.digests import PACKAGE, code_digest, files_digest
from prdit.errors import UserError
from prdit.files import check_writable, is_writable


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

# What torch compiles for GPUs lies with the results, where all jobs and nodes find it again: its
# own place is each node's /tmp. Jobs inherit this, or read it here themselves. No job depends on it.
COMPILED = Path("results", CONFIG.name, ".compile_cache").absolute()
if is_writable(COMPILED):
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(COMPILED))


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
    """The recipe of a job as JSON: `make` from the config and the wildcards named."""
    return lambda wildcards: make(CONFIG, *(wildcards[k] for k in keys)).model_dump_json()


def torch_environment(name):
    """Conda environment with the build of torch that the config asks for."""
    build = CONFIG.torch_build
    return f"../envs/{name}.yaml" if build == "default" else f"../envs/{build}/{name}.yaml"


def of_kind(kind):
    """Pattern of the data sets whose source is of a kind."""
    return any_of(n for n, one in CONFIG.datasets.items() if isinstance(one.source, kind))


def files(pattern, ones, **more):
    """The file of each of several sets of samples, trainings, pairs, figures or sizes."""
    return [path for one in ones for path in collect(pattern, **one._asdict(), **more)]


def start_from(wildcards):
    """Weights that a model builds on, if it does."""
    start = CONFIG.models[wildcards.model].start_from
    size = CONFIG.start_size(wildcards.model, int(wildcards.size))
    weights = rules.train.output.weights
    return collect(weights, model=start, size=size, allow_missing=True) if start else []


TAKEN = [name for name, model in CONFIG.models.items() if model.weights is not None]


def scores_of(table=None):
    """Scores that a table shows, or all; with each size, those of real against real volumes."""
    floors = files(rules.floor.output.score, experiments.scored_sizes(CONFIG, table))
    return floors + files(rules.score.output.score, experiments.scored(CONFIG, table))


def scores_of_taken(wildcards):
    """Scores of models whose weights the config gives."""
    sets = [one for one in experiments.scored(CONFIG) if one.model in TAKEN]
    if not sets:
        raise WorkflowError("no table shows a model whose `weights:` the config gives")
    return files(rules.score.output.score, sets)


def timings_of(table=None):
    """Timings that a table shows, or all."""
    return files(rules.time.output.timing, experiments.timed(CONFIG, table))


def critics_of(table=None):
    """Scores of the critics that a table asks, or all."""
    return files(rules.critic.output.score, experiments.pairs(CONFIG, table))


def records_of(table=None):
    """Records of the trainings that a table shows, or all, and of what they start from."""
    return files(rules.train.output.record, experiments.trained(CONFIG, table))


def sample_cards(wildcards, **others):
    """All portions of a set of samples."""
    portions = experiments.portions(CONFIG, wildcards.size)
    return collect(rules.sample.output.card, portion=portions, **others, allow_missing=True)


def first_cards(samples):
    """The first portion of each of several sets of samples: enough to show."""
    return files(rules.sample.output.card, samples, portion="000")


def figure_cards(wildcards):
    """The first portion of each set of samples that a figure shows."""
    return first_cards(experiments.figure_samples(CONFIG, wildcards.figure, wildcards.dataset))


def figure_real(wildcards):
    """Real volumes of the edge of a figure's first row."""
    size = CONFIG.selections()[f"figures.{wildcards.figure}"].shown()[0].size
    return collect(rules.pack.output.array, size=size, allow_missing=True)


def all_figures():
    """Every figure that the config asks for, and those that come with scores and trainings."""
    shown = CONFIG.figures
    return [
        *files(rules.figure.output.figure, experiments.figures(CONFIG)),
        *collect(rules.cavities.output.figure, dataset=experiments.shown(shown.figure_6)),
        *collect(rules.figure_15.output.figure, dataset=experiments.shown(shown.figure_15)),
        *files(rules.closest.output.figure, experiments.scored_sizes(CONFIG)),
        *(rules.curves.output if experiments.trained(CONFIG) else []),
    ]
