"""SLURM: partitions and their limits, GPUs, accounting, accounts. Nothing is ever submitted."""

from __future__ import annotations

import getpass
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from prdit.doctor.line import Line, ask, note, ok, problem
from prdit.doctor.profile import Profile

Options = tuple[str, ...]
DEFAULT = "the default partition"
OPTIONS = {
    "slurm_partition": "--partition",
    "slurm_account": "--account",
    "constraint": "--constraint",
    "qos": "--qos",
}
"""Resource -> the option of sbatch that it becomes."""
FORMS = {"--gpus=1": "gpu: 1", "--gres=gpu:1": 'gpu: 0, gres: "gpu:1"'}
"""Ways to ask for a GPU -> what to write in a profile."""


def look(profile: Profile) -> Iterator[Line]:
    """Whether the cluster takes what the profile asks for."""
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
    limits = read_limits(answer.text)
    yield from partitions(profile, limits)
    yield from own_limits(profile)
    yield from gpus(profile)
    yield from requests(profile)
    yield from accounting(profile)


def read_limits(text: str) -> dict[str, int | None]:
    """{partition: minutes a job may take} of sinfo; None for no limit, `DEFAULT` the default's."""
    found: dict[str, int | None] = {}
    for line in text.split():
        name, _, limit = line.partition("|")
        found[name.rstrip("*")] = minutes(limit)
        if name.endswith("*"):
            found[DEFAULT] = minutes(limit)
    return found


def minutes(limit: str) -> int | None:
    """Minutes of [days-][[hours:]minutes:]seconds as sinfo writes it; None for no limit."""
    told = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit)
    if told is None:
        return None
    days, hours, rest = (int(part or 0) for part in told.groups()[:3])
    return (days * 24 + hours) * 60 + rest


def partitions(profile: Profile, limits: dict[str, int | None]) -> Iterator[Line]:
    """Whether the partitions of all rules exist, and let them run for as long as they ask."""
    longest: dict[str, tuple[int, str]] = {}
    for rule, resources in profile.resources().items():
        time = asked_minutes(resources.get("runtime"))
        for name in str(resources.get("slurm_partition") or DEFAULT).split(","):
            longest[name] = max(longest.get(name, (0, rule)), (time, rule))
    for name, (time, rule) in sorted(longest.items()):
        yield partition(profile, limits, name, time, rule)


def partition(
    profile: Profile, limits: dict[str, int | None], name: str, time: int, rule: str
) -> Line:
    """Whether a partition exists and lets a job run for `time` minutes."""
    if name not in limits:
        there = ", ".join(sorted(set(limits) - {DEFAULT})) or "none"
        who = f"rule {rule} names no slurm_partition and there is no default"
        who = who if name == DEFAULT else f"there is no partition {name}"
        return problem(f"{who}: write one of those there are ({there}) into {profile.path}")
    limit = limits[name]
    if limit is not None and time > limit:
        return problem(
            f"{name} ends jobs after {limit} minutes and rule {rule} asks for {time}: lower its"
            f" `runtime` (and `time_limit`, if it has one) to {limit} below set-resources in"
            f" {profile.path} (a training goes on where it was stopped), or take another partition"
        )
    told = "has no time limit" if limit is None else f"lets jobs run for {limit} minutes"
    return ok(f"{name} {told}; the longest rule, {rule}, asks for {time}")


def own_limits(profile: Profile) -> Iterator[Line]:
    """Whether what ends by itself does so before SLURM ends it."""
    for rule, resources in profile.resources().items():
        own, slurm = resources.get("time_limit"), asked_minutes(resources.get("runtime"))
        if isinstance(own, int) and own > slurm > 0:
            yield problem(
                f"rule {rule} would save after {own} minutes (time_limit), and SLURM ends it after"
                f" {slurm} (runtime): write a time_limit of {slurm} in {profile.path}"
            )


def asked_minutes(runtime: Any) -> int:
    """Minutes of a runtime as profiles write it (90, 90m, 12h, 2d); 0 for what is computed."""
    told = re.fullmatch(r"(\d+)\s*([mhd]?)", str(runtime).strip())
    return int(told[1]) * {"": 1, "m": 1, "h": 60, "d": 1440}[told[2]] if told else 0


def gpus(profile: Profile) -> Iterator[Line]:
    """Whether SLURM takes the profile's way of asking for GPUs; each way is tried once."""
    users: defaultdict[tuple[Options, str], list[str]] = defaultdict(list)
    for rule, resources in profile.resources().items():
        if form := request(resources):
            users[place(resources), form].append(rule)
    for (options, form), names in users.items():
        yield gpu(options, form, ", ".join(names))


def place(resources: dict[str, Any]) -> Options:
    """Options of sbatch that say where a job runs, and for whom."""
    return tuple(f"{OPTIONS[key]}={resources[key]}" for key in OPTIONS if resources.get(key))


def requests(profile: Profile) -> Iterator[Line]:
    """Whether SLURM takes all that the profile asks for: time, memory, processors."""
    users: defaultdict[Options, list[str]] = defaultdict(list)
    for rule, resources in profile.resources().items():
        form = request(resources)
        if not form or refused(*place(resources), form) is None:  # else it is told already
            users[whole(profile, rule, resources)].append(rule)
    refusals = {options: refused(*options) for options in users}
    for options, why in refusals.items():
        if why is not None:
            rules = ", ".join(users[options])
            yield problem(f"sbatch refuses {' '.join(options)} for {rules} ({why}): ask for less")
    taken = [rule for options, rules in users.items() for rule in rules if not refusals[options]]
    if taken:
        yield ok(f"sbatch takes time, memory and processors of {', '.join(sorted(taken))}")


def whole(profile: Profile, rule: str, resources: dict[str, Any]) -> Options:
    """All options of sbatch for a rule, as the executor would write them."""
    options = [*place(resources), *filter(None, [request(resources)])]
    if minutes := asked_minutes(resources.get("runtime")):
        options.append(f"--time={minutes}")
    if isinstance(resources.get("mem_mb"), int):
        options.append(f"--mem={resources['mem_mb']}")
    if resources.get("nodes"):
        options.append(f"--nodes={resources['nodes']}")
    options.append(f"--cpus-per-task={profile.threads(rule)}")
    return (*options, *str(resources.get("slurm_extra") or "").split())


def request(resources: dict[str, Any]) -> str:
    """How the executor asks for the GPUs of a rule; empty for a rule without."""
    if "gpu" in str(resources.get("gres") or ""):
        return f"--gres={resources['gres']}"
    number = resources.get("gpu", 0)
    if number == 0 and not resources.get("gpu_model"):
        return ""
    model = f"{resources['gpu_model']}:" if resources.get("gpu_model") else ""
    return f"--gpus={model}{number or 1}"


def gpu(options: Options, form: str, rules: str) -> Line:
    """Whether sbatch takes a request for GPUs; if not, which other one it takes."""
    where = " ".join(options) or DEFAULT
    refusal = refused(*options, form)
    if refusal is None:
        return ok(f"sbatch takes {form} with {where}, as the profile asks for {rules}")
    told = f"sbatch refuses {form} with {where} for {rules} ({refusal})"
    for other, line in FORMS.items():
        if other != form and refused(*options, other) is None:
            return problem(f"{told} but takes {other}: write `{{{line}}}` for each of these rules")
    return problem(
        f"{told}, and any other request for a GPU: name a slurm_partition with GPUs for these"
        " rules; `sinfo -o '%P %G'` shows which have some"
    )


def refused(*options: str) -> str | None:
    """Why sbatch would refuse a job; None if it would not. Submits nothing."""
    answer = ask("sbatch", "--test-only", "--time=1", *options, "--wrap=true")
    return answer.error if answer.failed else None


def accounting(profile: Profile) -> Iterator[Line]:
    """Whether the executor can ask what became of a job, and whether its account is known."""
    answer = ask("sacct", "--noheader", "--allocations", "--format=JobID")
    if not answer.failed:
        yield ok("accounting works: sacct answers")
        yield account(profile)
    elif profile.keys.get("slurm-status-command") == "squeue":
        yield ok("there is no accounting, and the profile asks squeue instead")
    else:
        yield problem(
            f"there is no accounting (sacct: {answer.error}): write"
            f" `slurm-status-command: squeue` into {profile.path}"
        )


def account(profile: Profile) -> Line:
    """Whether the accounts of the profile are the user's."""
    user = getpass.getuser()
    answer = ask("sacctmgr", "-n", "-P", "-s", "list", "user", user, "format=account")
    known = sorted(set(answer.text.split()))
    told = {str(one.get("slurm_account") or "") for one in profile.resources().values()} - {""}
    named = {name for one in told for name in re.split(r"[,\s]+", one) if name}
    yours = ", ".join(known)
    if answer.failed or not known:
        return note(f"SLURM does not tell the accounts of {user}; nothing says the profile's fits")
    if wrong := sorted(named - set(known)):
        return problem(
            f"slurm_account {', '.join(wrong)} is none of yours ({yours}): correct {profile.path}"
        )
    if not named:
        return note(f"the profile names no slurm_account; SLURM takes your default of: {yours}")
    return ok(f"slurm_account {', '.join(sorted(named))} is yours")
