"""A site looked at before the first run: one line per check. No step of the workflow imports it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from prdit.config import Config
from prdit.doctor import cluster, data, gpu, site
from prdit.doctor.line import Line, note, ok, problem
from prdit.doctor.profile import Profile, read_profile
from prdit.errors import UserError
from prdit.plan.dry_run import Job


def report(configs: Sequence[Path], profile: str | None) -> None:
    """Print what came of each check, as it comes.

    Raises:
        UserError: there is a PROBLEM, or this is not the repository's own folder.
    """
    if not Path("config/published.yaml").is_file():
        raise UserError("run this in the repository's own folder")
    problems = 0
    for line in look(configs, profile):
        print(f"{line.verdict:<7}  {line.sentence}", flush=True)
        problems += line.verdict == "PROBLEM"
    if problems:
        them = "problem; mend it" if problems == 1 else "problems; mend them"
        raise UserError(f"{problems} {them} and run this again")


def look(configs: Sequence[Path], name: str | None) -> Iterator[Line]:
    """Every check: of this machine, of the config, of the cluster where a profile names one."""
    profile = Profile()
    config: Config | None = None
    jobs: list[Job] | None = None
    try:
        profile = read_profile(name) if name else profile
    except UserError as error:
        yield problem(str(error))
    yield from site.look(profile)
    try:
        config = data.read(configs, profile)
        yield ok(f"{' '.join(map(str, configs))}: the config '{config.name}' can be read")
        yield ok("the manifests, folders of scans and weights of models that it names are there")
        jobs = profile.jobs(configs)
        yield ok(f"Snakemake's dry run lists {len(jobs):,} jobs")
    except UserError as error:
        yield problem(str(error))
    yield from gpu.look(profile.conda, data.torch_build(configs, profile))
    if profile.slurm:
        yield from cluster.look(profile, jobs or [])
    elif not name:
        yield note("SLURM was not looked at; name a profile to do so: `--profile slurm`")
    if config is not None:
        yield from data.weights(config)
    if config is not None and jobs is not None:
        yield from data.disks(config, jobs)
        yield from data.network(config, jobs, profile)
