"""Where everything of a run came from: one file of data, code, packages, commands and times."""

from __future__ import annotations

import base64
import json
import platform
import re
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from prdit import __version__
from prdit.files import damaged, read_json, write_json
from prdit.recipes import ProvenanceRecipe
from prdit.report.stages import measured

METADATA = Path(".snakemake/metadata")
"""Snakemake's own records of the jobs that made what is there, a file per output."""


def run(
    recipe: ProvenanceRecipe, *, summaries: list[Path], records: list[Path], made: Path
) -> None:
    """Write one JSON file of everything that the results of a run were made from.

    Args:
        summaries: summary.json in a folder per data set: how many series, and the cohort's digest.
        records: run.json in folders <data set>/<size>/<model>.
        made: the JSON to write. Its `jobs` are those that Snakemake remembers, with their commands,
            the digest of their code, what they read, and seconds of wall time of the attempt that
            succeeded. Commit, packages and machine are those of the job that writes this, which
            with conda is in the environment `report`; `environments` has the files of all.
    """
    found = {
        "name": recipe.config["name"],
        "prdit": __version__,
        "commit": commit(),
        "config": recipe.config,
        "datasets": {path.parent.name: read_json(path, "cohort") for path in summaries},
        "trainings": {"/".join(path.parts[-4:-1]): read_json(path, "status") for path in records},
        "machine": {"python": platform.python_version(), "platform": platform.platform()},
        "packages": dict(sorted((one.name, one.version) for one in distributions())),
        "environments": environments(Path("envs")),
        "jobs": jobs(Path("results", recipe.config["name"])),
    }
    write_json(made, found)


def environments(folder: Path) -> dict[str, str]:
    """The files of conda environments; those with another build of torch as `cu126/train`."""
    files = sorted(folder.rglob("*.yaml"))
    return {path.relative_to(folder).with_suffix("").as_posix(): path.read_text() for path in files}


def commit() -> dict[str, Any] | None:
    """The repository's commit, and what was changed or added after it; None without git."""
    try:
        head, changed, added = (
            subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout
            for words in (
                ["rev-parse", "HEAD"],
                ["diff", "--name-only", "HEAD"],
                ["ls-files", "--others", "--exclude-standard"],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"id": head.strip(), "changed": changed.splitlines(), "added": added.splitlines()}


def jobs(results: Path) -> list[dict[str, Any]]:
    """A record for each job that made something below a folder, and what it made."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted(METADATA.rglob("*"), key=lambda path: path.name):
        output = _output(path)
        if output is None or results not in Path(output).parents or not Path(output).exists():
            continue
        try:
            told = json.loads(path.read_text())
            about = found.setdefault(
                (told["rule"], told["shellcmd"]),
                {
                    "rule": told["rule"],
                    "command": told["shellcmd"],
                    "code": _digest(told["params"]),
                    "inputs": told["input"],
                    "outputs": [],
                    "seconds": _seconds(told["log"]),
                },
            )
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(path, f"no record of Snakemake's ({error})") from None
        about["outputs"].append(output)
    return [found[key] for key in sorted(found)]


def _output(path: Path) -> str | None:
    """The file that a record is of: its path in base64, long ones over several folders."""
    if path.is_dir():
        return None
    name = "".join(part.lstrip("@") for part in path.relative_to(METADATA).parts)
    try:
        return base64.urlsafe_b64decode(name).decode()
    except ValueError:
        return None


def _digest(parameters: list[str]) -> str | None:
    """The digest of a job's code among its parameters, as Snakemake writes them."""
    found = (re.fullmatch(r"'([0-9a-f]{16})'", str(one)) for one in parameters)
    return next((match[1] for match in found if match), None)


def _seconds(logs: list[str]) -> float | None:
    """Wall time of the job with this log, from its benchmark; None if there is none."""
    for log in logs:
        benchmark = Path(log.replace("/logs/", "/benchmarks/", 1)).with_suffix(".tsv")
        if benchmark.is_file():
            return round(measured(benchmark)["hours"] * 3600, 2)
    return None
