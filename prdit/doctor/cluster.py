"""SLURM: partitions and their limits, GPUs, accounting, accounts. Nothing is ever submitted."""

from __future__ import annotations

import getpass
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby

from prdit.doctor.line import Line, ask, note, ok, problem
from prdit.doctor.profile import Profile
from prdit.plan.dry_run import Job

Options = tuple[str, ...]
DEFAULT = "the default partition"
PLACE = ("slurm_partition", "slurm_account", "constraint", "qos")
"""Resources that say where a job runs, and for whom; options of sbatch, but for `slurm_`."""
SIZES = {"time": "runtime", "mem": "mem_mb", "nodes": "nodes"}
"""Options of sbatch -> resources."""
FORMS = {"--gpus=1": "gpu: 1", "--gres=gpu:1": 'gpu: 0, gres: "gpu:1"'}
"""Ways to ask for a GPU -> what to write in a profile."""


def look(profile: Profile, jobs: Sequence[Job]) -> Iterator[Line]:
    """Whether the cluster takes what jobs ask for under the profile."""
    missing = [name for name in ("sbatch", "sinfo") if shutil.which(name) is None]
    if missing:
        yield problem(f"there is no {' and no '.join(missing)}: run this on a login node")
        return
    answer = ask("sinfo", "--noheader", "--format=%P|%l")
    if answer.failed:
        yield problem(
            f"sinfo answers with an error ({answer.error}): SLURM's controller cannot be reached;"
            " run this on a login node, or ask the site's support"
        )
        return
    submitted = [job for job in jobs if job.rule != "all"]
    yield from partitions(profile, submitted, read_limits(answer.text))
    yield from own_limits(profile, submitted)
    yield from requests(submitted)
    yield from accounting(profile, submitted)


def read_limits(text: str) -> dict[str, int | None]:
    """{partition: minutes a job may take} of sinfo; None for no limit, `DEFAULT` the default's."""
    found: dict[str, int | None] = {}
    for line in text.split():
        name, _, limit = line.partition("|")
        # [days-][[hours:]minutes:]seconds
        told = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):\d+", limit)
        days, hours, minutes = (int(part or 0) for part in told.groups()) if told else (0, 0, 0)
        found[name.rstrip("*")] = (days * 24 + hours) * 60 + minutes if told else None
        if name.endswith("*"):
            found[DEFAULT] = found[name.rstrip("*")]
    return found


def partitions(
    profile: Profile, jobs: Sequence[Job], limits: dict[str, int | None]
) -> Iterator[Line]:
    """Whether the partitions of all jobs exist, and let them run for as long as they ask."""
    longest: defaultdict[str, tuple[int, str]] = defaultdict(lambda: (-1, ""))
    for job in jobs:
        for name in job.resources.get("slurm_partition", DEFAULT).split(","):
            longest[name] = max(longest[name], (job.number("runtime"), job.rule))
    for name, (time, rule) in sorted(longest.items()):
        limit = limits.get(name)
        if name not in limits:
            there = ", ".join(sorted(set(limits) - {DEFAULT})) or "none"
            who = f"rule {rule} names no slurm_partition and there is no default"
            who = who if name == DEFAULT else f"there is no partition {name}"
            yield problem(f"{who}: write one of those there are ({there}) into {profile.path}")
        elif limit is not None and time > limit:
            yield problem(
                f"{name} ends jobs after {limit} minutes and rule {rule} asks for {time}: lower its"
                f" `runtime` (and `time_limit`, if it has one) to {limit} below set-resources in"
                f" {profile.path} (a training goes on where it was stopped), or take another"
                " partition"
            )
        else:
            told = "has no time limit" if limit is None else f"lets jobs run for {limit} minutes"
            yield ok(f"{name} {told}; the longest rule, {rule}, asks for {time}")


def own_limits(profile: Profile, jobs: Sequence[Job]) -> Iterator[Line]:
    """Whether what ends by itself does so before SLURM ends it."""
    limits = {(job.rule, job.number("time_limit"), job.number("runtime")) for job in jobs}
    for rule, own, slurm in sorted(limits):
        if own > slurm > 0:
            yield problem(
                f"rule {rule} would save after {own} minutes (time_limit), and SLURM ends it after"
                f" {slurm} (runtime): write a time_limit of {slurm} in {profile.path}"
            )


def requests(jobs: Sequence[Job]) -> Iterator[Line]:
    """Whether SLURM takes each way to ask for GPUs; where it does, all that jobs ask for."""
    rules: defaultdict[tuple[Options, Options, Options], set[str]] = defaultdict(set)
    for job in jobs:
        rules[place(job), gpus(job), sizes(job)].add(job.rule)
    taken, refusals = set[str](), set[str]()
    for (where, form), some in groupby(sorted(rules), key=lambda asked: asked[:2]):
        same = list(some)
        if form:
            line = gpu(where, form[0], named(*(rules[asked] for asked in same)))
            yield line
            if line.verdict == "PROBLEM":
                continue
        for asked in same:
            options = [*where, *form, *asked[2]]
            why = refused(*options)
            (taken if why is None else refusals).update(rules[asked])
            if why is not None:
                told = f"sbatch refuses {' '.join(options)} for {named(rules[asked])} ({why})"
                yield problem(f"{told}: ask for less")
    if names := named(taken - refusals):
        yield ok(f"sbatch takes time, memory and processors of {names}")


def named(*rules: set[str]) -> str:
    """Names of rules."""
    return ", ".join(sorted(set().union(*rules)))


def place(job: Job) -> Options:
    """Where a job runs, and for whom."""
    told = {key.removeprefix("slurm_"): job.resources.get(key) for key in PLACE}
    return tuple(f"--{option}={value}" for option, value in told.items() if value)


def gpus(job: Job) -> Options:
    """How the executor asks for the GPUs of a job."""
    gres, model = job.resources.get("gres", ""), job.resources.get("gpu_model")
    if "gpu" in gres:
        return (f"--gres={gres}",)
    if model:
        return (f"--gpus={model}:{job.number('gpu') or 1}",)
    return (f"--gpus={job.number('gpu')}",) if job.gpu else ()


def sizes(job: Job) -> Options:
    """Whatever else the executor asks for."""
    told = {option: job.number(key) for option, key in SIZES.items()}
    told["cpus-per-task"] = job.threads
    extra = job.resources.get("slurm_extra", "").split()
    return (*(f"--{option}={number}" for option, number in told.items() if number), *extra)


def gpu(where: Options, form: str, rules: str) -> Line:
    """Whether sbatch takes a request for GPUs; if not, which other one it takes."""
    there, refusal = " ".join(where) or DEFAULT, refused(*where, form)
    if refusal is None:
        return ok(f"sbatch takes {form} with {there}, as the profile asks for {rules}")
    told = f"sbatch refuses {form} with {there} for {rules} ({refusal})"
    for other, line in FORMS.items():
        if other != form and refused(*where, other) is None:
            return problem(f"{told} but takes {other}: write `{{{line}}}` for each of these rules")
    return problem(
        f"{told}, and any other request for a GPU: name a slurm_partition with GPUs for these"
        " rules; `sinfo -o '%P %G'` shows which have some"
    )


def refused(*options: str) -> str | None:
    """Why sbatch would refuse a job; None if it would not. Submits nothing."""
    answer = ask("sbatch", "--test-only", "--time=1", *options, "--wrap=true")
    return answer.error if answer.failed else None


def accounting(profile: Profile, jobs: Sequence[Job]) -> Iterator[Line]:
    """Whether the executor can ask what became of a job, and whether its account is known."""
    answer = ask("sacct", "--noheader", "--allocations", "--format=JobID")
    if not answer.failed:
        yield ok("accounting works: sacct answers")
        if jobs:
            yield account(profile, jobs)
    elif profile.keys.get("slurm-status-command") == "squeue":
        yield ok("there is no accounting, and the profile asks squeue instead")
    else:
        yield problem(
            f"there is no accounting (sacct: {answer.error}): write"
            f" `slurm-status-command: squeue` into {profile.path}"
        )


def account(profile: Profile, jobs: Sequence[Job]) -> Line:
    """Whether the accounts that jobs ask for are the user's."""
    user = getpass.getuser()
    answer = ask("sacctmgr", "-n", "-P", "-s", "list", "user", user, "format=account")
    known = sorted(set(answer.text.split()))
    told = " ".join({job.resources.get("slurm_account", "") for job in jobs})
    named, yours = set(re.findall(r"[^,\s]+", told)), ", ".join(known)
    if answer.failed or not known:
        return note(f"SLURM does not tell the accounts of {user}; nothing says the profile's fits")
    if wrong := sorted(named - set(known)):
        return problem(
            f"slurm_account {', '.join(wrong)} is none of yours ({yours}): correct {profile.path}"
        )
    if not named:
        return note(f"the profile names no slurm_account; SLURM takes your default of: {yours}")
    return ok(f"slurm_account {', '.join(sorted(named))} is yours")
