"""Plans compared with what really changed."""

from __future__ import annotations

from typing import Any

Record = dict[str, Any]
HEAD = (
    "| kind | mutations | refused, drawn again | jobs planned, mean | recomputed | jobs affected"
    " | of them planned | rules invalidated directly | of them affected |\n" + "| --- " * 9 + "|"
)


AROUND = "around"
"""Modules that no digest covers, by decision: what they do is told, and stands in no sum."""


def affected(first: Record, run: Record, unstable: list[str]) -> list[str]:
    """Jobs of a run with an output that is not the baseline's, or that is not there."""

    def other(name: str) -> bool:
        mine = run["outputs"][name]
        return mine is None or (name not in unstable and mine != first["outputs"].get(name))

    return sorted(job for job, names in run["jobs"].items() if any(map(other, names)))


def rule(job: str) -> str:
    """The rule of a job's name."""
    return job.partition(" ")[0]


def judge(first: Record, unstable: list[str], told: Record) -> Record:
    """One mutation: what was planned, affected, missed; rules that ran for nothing."""
    plan = sorted(told["planned"])
    found = {name: told[name] for name in ("kind", "file", "what")}
    found |= {"planned": plan, "rules": sorted(set(map(rule, plan))), "reasons": told["planned"]}
    if told["only"] is not None:
        found["too_much"] = sorted(set(found["rules"]) - set(told["only"]))
    if "truth" not in told:
        return found
    changed = affected(first, told["truth"], unstable)
    direct = [job for job, names in first["jobs"].items() if set(names) & set(told["direct"])]
    hit = {rule(job) for job in direct if job in changed}
    return found | {
        "affected": changed,
        "missed": sorted(set(changed) - set(plan)),
        "direct": sorted(set(map(rule, direct))),
        "in_vain": sorted(set(map(rule, direct)) - hit),
        "crashed": told["truth"]["failed"] is not None,
        "seconds": told["truth"]["seconds"],
    }


def judged(
    first: Record, unstable: list[str], plans: list[Record], refused: dict[str, int]
) -> Record:
    """All mutations, and the sums of each kind."""
    found = [judge(first, unstable, told) for told in plans]
    kinds = {kind: summed([m for m in found if m["kind"] == kind]) for kind in refused}
    for kind, count in refused.items():
        kinds[kind]["refused"] = count
    return {
        "jobs": len(first["jobs"]),
        "unstable": unstable,
        "all": summed([m for m in found if m["kind"] != AROUND])
        | {"refused": sum(count for kind, count in refused.items() if kind != AROUND)},
        "kinds": kinds,
        "mutations": found,
    }


def summed(some: list[Record]) -> Record:
    """Counts over mutations: of jobs, and of rules per mutation."""
    known = [one for one in some if "affected" in one]
    counts = {name: sum(len(one[name]) for one in known) for name in ("affected", "missed")}
    counts |= {name: sum(len(one[name]) for one in known) for name in ("direct", "in_vain")}
    planned = sum(len(one["planned"]) for one in some)
    return counts | {"mutations": len(some), "recomputed": len(known), "planned": planned}


def show(told: Record) -> None:
    """A Markdown table, then every mutation that is not as it should be."""
    print(f"{told['jobs']} jobs, {told['baseline_seconds']} s from scratch; seed {told['seed']}\n")
    print(HEAD)
    for kind, sums in [*told["kinds"].items(), (f"all but {AROUND}", told["all"])]:
        print(line(kind, sums))
    print()
    print("Outputs that differ between two runs:", ", ".join(told["unstable"]) or "none")
    for one in told["mutations"]:
        where = f"{one['kind']}: {one['file']}, {one['what']}"
        if one.get("missed"):
            failed = " (the run failed)" if one["crashed"] else ""
            print(f"MISSED by {where}{failed}: {'; '.join(one['missed'])}")
        if one.get("too_much") or (one["kind"] == "cosmetic" and one["planned"]):
            print(f"TOO MUCH by {where}: {', '.join(one.get('too_much') or one['rules'])}")
        if one.get("in_vain"):
            print(f"in vain by {where}: {', '.join(one['in_vain'])}")
    print(f"{told['seconds']} s in all; {told['hung']} runs that did not end")


def line(kind: str, sums: Record) -> str:
    """A row of the table."""
    mean = f"{sums['planned'] / sums['mutations']:.1f}" if sums["mutations"] else "-"
    caught = share(sums["affected"] - sums["missed"], sums["affected"])
    right = share(sums["direct"] - sums["in_vain"], sums["direct"])
    cells = [kind, sums["mutations"], sums["refused"], mean, sums["recomputed"]]
    cells += [sums["affected"], caught, sums["direct"], right]
    return f"| {' | '.join(map(str, cells))} |"


def share(some: int, of: int) -> str:
    """Some of all, and as a percentage."""
    return f"{some} of {of} ({some / of:.1%})" if of else "-"
