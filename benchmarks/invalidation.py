"""Whether exactly those steps run again that a change invalidates: docs/invalidation.md."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.checkout import CONFIG, asked, copied, directly, parsed, recomputed
from benchmarks.mutations import (
    Mutation,
    Refused,
    apart_mutations,
    applied,
    config_mutations,
    cosmetic_mutation,
    source_mutation,
)
from benchmarks.verdicts import judged, show
from prdit.cli import STEPS
from prdit.config.file import load_file
from prdit.digests import closure
from prdit.files import read_json, write_json

SHARES = {"config": 0.35, "source": 0.4, "around": 0.1, "cosmetic": 0.15}
"""Of the mutations that are drawn; those of kind apart are always the same."""
TURNS = ("source", "config", "source", "config", "around", "apart")
"""Kinds in the order in which mutations are recomputed."""
PATIENCE = 6
"""Times of the baseline after which a run counts as hung."""

Record = dict[str, Any]


def kept(path: Path, make: Callable[[], Record]) -> Record:
    """What is known of a run or plan; found out if it is not there, refusals included."""
    if not path.is_file():
        try:
            write_json(path, make())
        except Refused as refused:
            write_json(path, {"refused": str(refused)})
    return read_json(path)


def key(mutation: Mutation) -> str:
    """The same for the same change of the same file."""
    text = f"{mutation.kind} {mutation.file} {mutation.text}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def dotted(file: str) -> str:
    """A module's name."""
    return file.removesuffix(".py").replace("/", ".")


def files_of(base: Path) -> tuple[list[str], list[str]]:
    """Python files that the digests of this run's steps cover; and those that no step's covers,
    of the modules that Snakemake and these steps import."""
    verbs = set(re.findall(r"python -m prdit ([\w-]+)", asked(base, "-n", "-F", "-p")))
    used = {model.generator for model in load_file(base / CONFIG).models.values()}
    generators = [f"prdit.generators.{one}" for one in used]
    steps = ", ".join([*(STEPS[verb] for verb in verbs), *generators])
    code = f"import sys, prdit.cli, prdit.instructions, {steps}; print(*sys.modules)"
    words = [sys.executable, "-B", "-c", code]
    done = subprocess.run(words, cwd=base, capture_output=True, text=True, check=True)
    loaded = {one for one in done.stdout.split() if one.startswith("prdit.")}
    within = set[str]().union(*(closure(STEPS[verb], *generators) for verb in verbs))
    files = [path.relative_to(base).as_posix() for path in sorted((base / "prdit").rglob("*.py"))]
    covered = set[str]().union(*map(closure, STEPS.values()))
    around = [one for one in files if dotted(one) in loaded - within - covered]
    return [one for one in files if dotted(one) in within], around


def drawn(base: Path, kind: str, files: list[str], seed: int) -> Iterator[Mutation | Refused]:
    """Mutations of a kind; modules in random order, each once before any comes again."""
    rng = Random(f"{seed} {kind}")
    if kind == "config":
        yield from config_mutations((base / CONFIG).read_text(), CONFIG, rng)
        return
    for _ in range(20):
        for file in rng.sample(files, len(files)):
            text = (base / file).read_text(encoding="utf-8")
            try:
                cosmetic = kind == "cosmetic"
                yield (cosmetic_mutation if cosmetic else source_mutation)(text, file, kind, rng)
            except Refused as refused:
                yield refused


def plan(base: Path, mutation: Mutation) -> Record:
    """What would run after a change, why, and which outputs it invalidates by itself.

    Raises:
        Refused: the module cannot be imported any more, or the workflow refuses the change.
    """
    with applied(mutation, base):
        if mutation.kind in ("source", "around"):
            words = [sys.executable, "-B", "-c", f"import {dotted(mutation.file)}"]
            if subprocess.run(words, cwd=base, capture_output=True, check=False).returncode:
                raise Refused(f"{mutation.file} cannot be imported: {mutation.what}")
        jobs = parsed(asked(base, "-n"))
        direct = directly(asked(base, "--summary")) if jobs else set()
    told: Record = {"kind": mutation.kind, "file": mutation.file, "what": mutation.what}
    told["only"] = None if mutation.only is None else sorted(mutation.only)
    return told | {"planned": {j.name: j.reason for j in jobs}, "direct": sorted(direct)}


def planned(work: Path, case: Namespace) -> tuple[list[tuple[Mutation, Record]], dict[str, int]]:
    """Mutations and their plans; and how many of each kind were refused and drawn again."""
    base = work / "baseline"
    found: list[tuple[Mutation, Record]] = []
    refused: dict[str, int] = {}
    within, around = files_of(base)
    flipped = {**load_file(base / CONFIG).model_dump(mode="json"), "local_downloads": True}
    candidates: dict[str, Iterator[Mutation | Refused]] = {}
    candidates["apart"] = iter(apart_mutations(base, CONFIG, flipped))
    for kind in SHARES:
        candidates[kind] = drawn(base, kind, around if kind == "around" else within, case.seed)
    for kind, waiting in candidates.items():
        due, refused[kind] = round(SHARES.get(kind, 1) * case.mutations), 0
        while due and (one := next(waiting, None)) is not None:
            if isinstance(one, Refused):
                refused[kind] += 1
                continue
            told = kept(work / f"plan-{key(one)}.json", partial(plan, base, one))
            if "refused" in told:
                refused[kind] += 1
                continue
            due -= 1
            found.append((one, told))
            print(f"{kind}: {one.file}, {one.what}: {len(told['planned'])} jobs", file=sys.stderr)
    return found, refused


def truth(work: Path, mutation: Mutation | None, cores: int, limit: float | None) -> Record:
    """Everything from scratch in a fresh copy with a change."""
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name, "copy")
        shutil.copytree(work / "pristine", folder)
        if mutation is not None:
            (folder / mutation.file).write_text(mutation.text, encoding="utf-8")
        return recomputed(folder, cores, limit)


def baseline(work: Path, cores: int) -> tuple[Record, list[str]]:
    """The finished run that plans are asked of; and which outputs a second one makes otherwise.

    Raises:
        SystemExit: it does not run through.
    """
    if not (work / "pristine" / CONFIG).is_file():
        copied(work / "pristine")

    def first() -> Record:
        shutil.rmtree(work / "baseline", ignore_errors=True)
        shutil.copytree(work / "pristine", work / "baseline")
        return recomputed(work / "baseline", cores)

    one = kept(work / "baseline.json", first)
    two = kept(work / "again.json", partial(truth, work, None, cores, None))
    # An attempt before may have been killed while a change was in place.
    shutil.copytree(work / "pristine", work / "baseline", dirs_exist_ok=True)
    for run in (one, two):
        if run.get("refused") or run["failed"]:
            raise SystemExit(f"the baseline fails: {run.get('refused') or run['failed']}")
    if found := parsed(asked(work / "baseline", "-n")):
        raise SystemExit(f"a finished run is not at rest: {[(j.name, j.reason) for j in found]}")
    return one, sorted(n for n, its in one["outputs"].items() if its != two["outputs"].get(n))


def truths(
    work: Path, case: Namespace, found: list[tuple[Mutation, Record]], seconds: float
) -> int:
    """Recompute after `case.truth` of the changes, kind after kind; returns how many hung."""
    waiting = {kind: [one for one in found if one[0].kind == kind] for kind in set(TURNS)}
    left, hung = case.truth, 0
    for kind in cycle(TURNS):
        if not left or not any(waiting.values()):
            return hung
        if not waiting[kind]:
            continue
        one, told = waiting[kind].pop(0)
        limit = max(60.0, PATIENCE * seconds)
        path = work / f"truth-{key(one)}.json"
        run = kept(path, partial(truth, work, one, case.cores, limit))
        if "refused" in run:
            hung += 1
            continue
        told["truth"], left = run, left - 1
        print(f"recomputed: {one.file}, {one.what}: {run['seconds']} s", file=sys.stderr)
    return hung


def main() -> None:
    parser = ArgumentParser(allow_abbrev=False, description=__doc__)
    parser.add_argument("--mutations", type=int, default=48, help="drawn, besides the fixed ones")
    parser.add_argument("--truth", type=int, default=12, help="of them recomputed from scratch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--work", type=Path, help="folder to keep finished runs in, to go on from")
    parser.add_argument("--json", type=Path, help="file to write")
    case = parser.parse_args()
    started = time.perf_counter()
    work = (case.work or Path(tempfile.mkdtemp(prefix="invalidation-"))).absolute()
    work.mkdir(parents=True, exist_ok=True)
    first, unstable = baseline(work, case.cores)
    found, refused = planned(work, case)
    hung = truths(work, case, found, first["seconds"])
    told = judged(first, unstable, [record for _, record in found], refused)
    told |= {"hung": hung, "seed": case.seed, "baseline_seconds": first["seconds"]}
    told["seconds"] = round(time.perf_counter() - started, 1)
    show(told)
    if case.json:
        write_json(case.json, told)


if __name__ == "__main__":
    main()
