"""All of the plan, as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prdit.config.file import load_file
from prdit.errors import UserError
from prdit.experiments import tables as asked
from prdit.plan import tables
from prdit.plan.dry_run import jobs
from prdit.plan.estimates import Estimates

SHARE = 0.18
"""Of an A100's peak that is reached. An assumption, fitted to the paper: its hours for PRDiT
(Tables 2 and 3) and seconds per volume of PRDiT and WDM-3D (Table 6) imply 0.16 to 0.23. Its hours
of rivals imply anything from 0.006 (HA-GAN) to 0.45 (WDM-3D)."""
GPU_KW = 0.6
"""Mean power per A100 in kW. An assumption: 0.35 of its 0.4, 0.1 of its share of the node, times a
PUE (whole centre over its computers) of 1.33."""
CO2E_KG_PER_KWH = 0.45
"""An assumption, near the mean of the world's electricity; countries lie between 0.03 and 0.8."""

NOTHING = "Nothing would run: everything that the config asks for is there."


def plan(configs: Sequence[Path], share: float, gpu_kw: float, co2e: float) -> str:
    """What would run and why, what it takes, and what was spent.

    Args:
        configs: as Snakemake takes them, each laid over those before.
        share: of an A100's peak.
        gpu_kw: mean power per GPU.
        co2e: kg of CO2 equivalents per kWh.

    Raises:
        UserError: a config cannot be read, or Snakemake refuses.
    """
    if not Path("config/published.yaml").is_file():
        raise UserError("run this in the repository's own folder")
    config = load_file(*configs)
    found = jobs(configs)
    estimates = Estimates(config, share)
    costs = [(job, estimates.cost(job)) for job in found]
    parts = [f"# Plan of {config.name}", assumptions(share)]
    if costs:
        kwh = gpu_kw * sum(cost.gpu_hours for _, cost in costs)
        parts += ["## What would run, and why", tables.rules(costs)]
        parts.append(
            f"Energy of the GPU hours: {kwh:,.0f} kWh, {kwh * co2e:,.0f} kg CO2e, assuming"
            f" {gpu_kw:g} kW per A100 (its node and the centre's overhead included) and {co2e:g} kg"
            " CO2e per kWh; CPU hours are left out."
        )
    else:
        parts.append(NOTHING)
    if costs and asked(config):
        parts += ["## Per table of the paper", SHARED, tables.per_table(config, costs)]
    if printed := tables.published(config, estimates):
        parts += ["## Hours of trainings beside the paper's", PUBLISHED, printed]
    if config.models:
        parts += ["## Predicted and spent", SPENT, tables.spending(config, estimates)]
    return "\n\n".join(parts)


def assumptions(share: float) -> str:
    """What stands behind the numbers."""
    return (
        f"GPU hours are of one A100. `operations`: matrix products and convolutions, counted, at"
        f" {share:.0%} of its peak (312, 156 and 19.5 TFLOP/s in bfloat16, TF32 and float32);"
        " `measured`: seconds per volume of the same model in this config's records, as long as the"
        " config says. Hours measured on a CPU are CPU hours. CPU hours come from benchmarks where"
        " the rule has some, else from assumed seconds per scan or job. GB are estimates."
    )


SHARED = (
    "Data, trainings, samples, features, scores, critics and timings. A job that several tables"
    " need counts in each of them."
)
PUBLISHED = (
    "All predicted from operations, whether or not it is still to be run. Table 2 of the paper"
    " seems to count a model's own training, Tables 3 and 7 also what it starts from. The share of"
    " the peak was fitted to the paper's PRDiT; convolutions of few channels, as HA-GAN's, come"
    " nowhere near it."
)
SPENT = (
    "Predicted from operations on an A100, for all volumes; spent as the records say, for the"
    " volumes beside it. Compare where `on` is an A100."
)
