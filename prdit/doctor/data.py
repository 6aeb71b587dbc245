"""What the config needs: files, room on the disk, a token, the network."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import requests

from prdit import experiments, published_weights, shards
from prdit.config import Config, ImagingDataCommons, Zenodo
from prdit.config.file import load_file
from prdit.data.sources.zenodo import TOKEN
from prdit.doctor.line import Line, note, ok, problem
from prdit.doctor.profile import Profile
from prdit.errors import UserError
from prdit.files import check_writable, nearest, sha256
from prdit.plan.dry_run import SOURCES, Job

TIMEOUT_S = 5
"""For a server to answer."""


def read(paths: Sequence[Path], profile: Profile) -> Config:
    """The config; UserError if it, or a file or folder that it names, cannot be used."""
    try:
        config = load_file(*paths, **profile.config())
    except UserError as error:
        raise UserError(f"{' '.join(map(str, paths))}: {error}") from None
    try:
        shards.check_sources(config)
    except UserError as error:
        what = "correct the path in the config or bring what is missing"
        raise UserError(f"{error}; {what}") from None
    for folder in (Path("results", config.name), Path(config.raw_folder)):
        check_writable(folder)
    return config


def torch_build(paths: Sequence[Path], profile: Profile) -> str | None:
    """What the config says of torch, though files that it names be missing; None if unreadable."""
    try:
        return load_file(*paths, **profile.config()).torch_build
    except UserError:
        return None


def weights(config: Config) -> Iterator[Line]:
    """Whether weights that the config gives are those it means, and published ones can be had."""
    for name, model in config.models.items():
        if model.weights is not None and model.sha256 not in (None, sha256(Path(model.weights))):
            told = f"models.{name}: {model.weights} is not the file of sha256 {model.sha256}"
            yield problem(f"{told}; fetch it anew")
    named = [Path(path) for path in experiments.published_weights(config)]
    missing = [path for path in named if not path.is_file()]
    unknown = [str(path) for path in missing if path.name not in published_weights.SOURCES]
    names = ", ".join(path.name for path in missing or named)
    if unknown:
        yield problem(
            f"there are no weights {', '.join(unknown)}, and none of that name are published: put"
            f" the file there or name one of {', '.join(published_weights.SOURCES)}"
        )
    elif missing:
        yield ok(f"the workflow will fetch weights that are not there yet: {names}")
    elif named:
        yield ok(f"published weights are there: {names}")


def disks(config: Config, jobs: Sequence[Job]) -> Iterator[Line]:
    """Whether there is room for results and raw scans, together where they share a disk."""
    try:
        needs = needed_bytes(config, jobs)
    except (ImportError, OSError) as error:  # OSError: a library that torch needs
        yield note(f"room on the disk was not looked at, for want of a package ({error})")
        return
    devices: defaultdict[int, list[Path]] = defaultdict(list)
    for folder in needs:
        devices[nearest(folder).stat().st_dev].append(folder)
    for folders in devices.values():
        need = sum(needs[folder] for folder in folders)
        free = shutil.disk_usage(nearest(folders[0])).free
        where = f"{' and '.join(map(str, folders))} can be written to"
        told = f"{where}; about {need / 1e9:,.0f} GB are needed, {free / 1e9:,.0f} GB are free"
        if need > free:
            yield problem(f"{told}: make room, or move `raw` of the config or the repository")
        else:
            yield ok(f"{told} (a quota may allow less)")


def needed_bytes(config: Config, jobs: Sequence[Job]) -> dict[Path, float]:
    """{folder: bytes} that jobs leave, as `prdit plan` estimates them."""
    from prdit.plan.estimates import Estimates  # and torch, which may be missing here

    estimates, results, raw = Estimates(config, 1), Path("results", config.name), config.raw_folder
    needs = {results: 0.0, Path(raw): 0.0}
    for job in jobs:
        needs[Path(raw) if job.rule in SOURCES else results] += estimates.bytes(job)
    return needs


def network(config: Config, jobs: Sequence[Job], profile: Profile) -> Iterator[Line]:
    """Whether there are tokens and servers for what is still to be fetched."""
    fetches = []
    for name in sorted({job.wildcards["dataset"] for job in jobs if job.rule in SOURCES}):
        dataset = config.datasets[name]
        if isinstance(dataset.source, ImagingDataCommons):
            fetches.append(dataset.source.endpoints)
        if isinstance(dataset.source, Zenodo):
            yield token(dataset.label)
            fetches.append([dataset.source.url])
    missing = [Path(path) for path in experiments.published_weights(config)]
    found = {published_weights.SOURCES.get(path.name) for path in missing if not path.is_file()}
    hosts = {f"https://{urlsplit(url).hostname}" for url in found if url}
    for addresses in [*fetches, *([host] for host in sorted(hosts))]:
        yield from servers(addresses)
    if (fetches or hosts) and profile.slurm and not config.local_downloads:
        yield note(
            "downloads will run on compute nodes, whose network cannot be seen from here; where"
            " they have none, write `config: local_downloads=true` into the profile"
        )


def token(label: str) -> Line:
    """Whether there is a token for restricted scans. It is never shown."""
    if os.environ.get(TOKEN, "").strip():
        return ok(f"{TOKEN} is set, for {label}")
    return problem(
        f"{label} is restricted and {TOKEN} is not set: put your token there, or lay"
        " config/lidc_only.yaml over to go without"
    )


def servers(addresses: Sequence[str]) -> Iterator[Line]:
    """Whether servers answer, of which one is enough."""
    failures = {address: unreachable(address) for address in addresses}
    for address, why in failures.items():
        told = urlsplit(address).hostname or address
        if why is None:
            yield ok(f"{told} answers")
        elif not all(failures.values()):
            yield note(f"{told} cannot be reached ({why}); another server has the same")
        else:
            yield problem(
                f"{told} cannot be reached from here ({why}): check the connection, firewall and"
                " https_proxy, or bring the files by hand"
            )


def unreachable(address: str) -> str | None:
    """Why a server gives no answer; None if it gives any, be it a refusal."""
    try:
        requests.head(address, timeout=TIMEOUT_S)
    except requests.RequestException as error:
        return type(error).__name__
    return None
