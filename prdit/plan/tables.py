"""The plan as Markdown: per rule, per table of the paper, and predicted beside spent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

from prdit.config import Config, Figures, Tables
from prdit.experiments import (
    Sampled,
    chain,
    pairs,
    scored,
    scored_sizes,
    tables,
    timed,
    trained,
)
from prdit.plan.dry_run import SOURCES, Job
from prdit.plan.estimates import Cost, Estimates
from prdit.plan.spent import Spent
from prdit.report.published import by_label, of_dataset, read

Costs = list[tuple[Job, Cost]]
COLUMNS = ("GPU h", "hours from", "CPU h", "GB")


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table that reads well in a terminal too: all but the first column to the right."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [
        [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        for row in (cells[0], rule, *cells[1:])
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def digits(value: float) -> str:
    """As many as an estimate has."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def counted(words: Iterable[str]) -> str:
    """How often each occurs: "params changed 3, missing output 28"."""
    return ", ".join(f"{word} {n}" for word, n in Counter(filter(None, words)).items())


def total(costs: Costs) -> list[str]:
    """What jobs cost together, by `COLUMNS`."""
    found = [cost for _, cost in costs]
    gpu, cpu = sum(c.gpu_hours for c in found), sum(c.cpu_hours for c in found)
    size = sum(c.bytes for c in found) / 1e9
    return [digits(gpu), counted(c.basis for c in found), digits(cpu), digits(size)]


def rules(costs: Costs) -> str:
    """A row per rule, and their total."""
    found: dict[str, Costs] = {}
    for one in costs:
        found.setdefault(one[0].rule, []).append(one)
    rows = [
        [rule, len(some), counted(why for job, _ in some for why in job.reasons), *total(some)]
        for rule, some in found.items()
    ]
    return markdown(
        ["rule", "jobs", "why", *COLUMNS], [*rows, ["total", len(costs), "", *total(costs)]]
    )


def per_table(config: Config, costs: Costs) -> str:
    """A row per table of the paper; last, what some table needs, each job once."""
    wanted = {table: needed(alone(config, table)) for table in tables(config)}
    wanted["all of these, each job once"] = {key for keys in wanted.values() for key in keys}
    rows = []
    for name, keys in wanted.items():
        some = [one for one in costs if key(one[0]) in keys]
        trainings = [cost.gpu_hours for job, cost in some if job.rule == "train"]
        rows.append([name, len(some), len(trainings), digits(sum(trainings)), *total(some)])
    return markdown(["table", "jobs", "trainings", "GPU h of trainings", *COLUMNS], rows)


def alone(config: Config, table: str) -> Config:
    """A config that asks for one table."""
    chosen = Tables(**{table: getattr(config.tables, table)})
    return config.model_copy(update={"tables": chosen, "figures": Figures()})


def key(job: Job) -> tuple[str, ...]:
    """What a job is told apart by: its rule and what its path consists of, portions apart."""
    parts = (value for name, value in job.wildcards.items() if name not in ("shard", "portion"))
    return (job.rule, *parts)


def needed(config: Config) -> set[tuple[str, ...]]:
    """Keys of the jobs that cost something and that the tables of a config need."""
    sets = set(scored(config))
    judged = {
        Sampled(p.dataset, p.size, *one, p.seed)
        for p in pairs(config)
        for one in ((p.model, p.sampler), (p.rival, p.rival_sampler))
    }
    models = {one[:3] for one in (*sets, *judged, *timed(config))}
    trainings = {(d, n, m) for d, size, model in models for n, m in chain(config, model, size)}
    by_rule: dict[str, Iterable[tuple[object, ...]]] = {
        "sample": sets | judged,
        "features": sets,
        "score": sets,
        "time": {one[:4] for one in timed(config)},
        "critic": pairs(config),
        "pack": {one[:2] for one in trainings},
    }
    by_rule |= dict.fromkeys(("train", "take"), trainings)
    by_rule |= dict.fromkeys(("features_real", "floor"), scored_sizes(config))
    data = {one[:1] for one in trainings}
    by_rule |= dict.fromkeys((*SOURCES, "preprocess", "ledger"), data)
    return {(rule, *map(str, one)) for rule, ones in by_rule.items() for one in ones}


def published(config: Config, estimates: Estimates) -> str:
    """Hours of trainings beside those that the paper prints; empty where it prints none."""
    printed = read(Path("config/published.yaml"))
    rows = []
    for table in tables(config):
        selection = config.selections()[f"tables.{table}"]
        for row, dataset in product(selection.shown(), selection.datasets):
            papers = of_dataset(printed.get(table, {}), config.datasets[dataset].published)
            its = by_label(papers).get(row.label, {})
            if "gpu_hours" in its:
                parts = [(dataset, str(n), m) for n, m in chain(config, row.model, row.size)]
                told = [estimates.training_seconds(*part) / 3600 for part in parts]
                done = [estimates.trained(*part) for part in parts]
                spent = digits(sum(one.hours for one in done if one)) if all(done) else ""
                row_of = [table, f"{dataset} {row.label}", digits(told[-1]), digits(sum(told))]
                rows.append([*row_of, its["gpu_hours"] or "OOM", spent])
    head = ["table", "row", "h of its own", "and of what it starts from", "paper", "spent in all"]
    return markdown(head, rows) if rows else ""


def spending(config: Config, estimates: Estimates) -> str:
    """Hours of each training and set of samples: predicted from operations, and spent."""
    rows = []
    for dataset, n, model in trained(config):
        if config.models[model].weights is None:
            one = (dataset, str(n), model)
            volumes = config.on(dataset).models[model].training.volumes
            seconds = estimates.training_seconds(*one)
            rows.append(_row("train", one, volumes, seconds, estimates.trained(*one)))
    for first, seeds in Counter(one[:4] for one in scored(config)).items():
        made = (first[0], str(first[1]), *first[2:])
        volumes = seeds * config.sampling.volumes
        seconds = volumes * estimates.drawing_seconds(*made)
        rows.append(_row("sample", made, volumes, seconds, estimates.drawn(*made)))
    head = ["what", "volumes", "h predicted", "h spent", "for volumes", "on"]
    return markdown(head, rows)


def _row(
    rule: str, names: Sequence[str], volumes: int, seconds: float, done: Spent | None
) -> list[object]:
    row = [f"{rule} {' '.join(names)}", f"{volumes:,}", digits(seconds / 3600)]
    return [*row, *([digits(done.hours), f"{done.volumes:,}", done.device] if done else [""] * 3)]
