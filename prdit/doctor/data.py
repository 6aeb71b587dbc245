"""What the config needs: files, room on the disk, a token, the network."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import requests

from prdit import experiments as plan
from prdit import shards
from prdit.config import Config, ImagingDataCommons, Phantom, Zenodo
from prdit.config.file import load_file
from prdit.data.sources.zenodo import TOKEN
from prdit.doctor.line import Line, note, ok, problem
from prdit.doctor.profile import Profile
from prdit.errors import UserError
from prdit.files import check_writable, sha256
from prdit.published_weights import SOURCES

TIMEOUT_S = 5
"""For a server to answer."""


def look(paths: Sequence[Path], profile: Profile) -> Iterator[Line]:
    """Whether the config can be read and what it needs is there."""
    names = " ".join(map(str, paths))
    try:
        config = load_file(*paths, **profile.config())
    except UserError as error:
        yield problem(f"{names}: {error}")
        return
    yield ok(f"{names}: the config '{config.name}' can be read")
    try:
        shards.check_sources(config)
        yield ok("the manifests, folders of scans and weights of models that it names are there")
    except UserError as error:
        yield problem(f"{error}; correct the path in the config or bring what is missing")
        return
    yield from given_weights(config)
    yield from published_weights(config)
    yield from disks(config)
    yield from token(config)
    yield from network(config, profile)


def given_weights(config: Config) -> Iterator[Line]:
    """Whether weights that the config gives are those it means."""
    for name, model in config.models.items():
        if model.weights is not None and model.sha256 not in (None, sha256(Path(model.weights))):
            yield problem(
                f"models.{name}: {model.weights} is not the file of sha256 {model.sha256}; fetch"
                " it anew"
            )


def published_weights(config: Config) -> Iterator[Line]:
    """Whether weights that others have published are there, or can be fetched."""
    named = [Path(path) for path in plan.published_weights(config)]
    missing = [path for path in named if not path.is_file()]
    unknown = [str(path) for path in missing if path.name not in SOURCES]
    if unknown:
        yield problem(
            f"there are no weights {', '.join(unknown)}, and none of that name are published: put"
            f" the file there or name one of {', '.join(SOURCES)}"
        )
    elif missing:
        names = ", ".join(path.name for path in missing)
        yield ok(f"the workflow will fetch weights that are not there yet: {names}")
    elif named:
        yield ok(f"published weights are there: {', '.join(path.name for path in named)}")


def disks(config: Config) -> Iterator[Line]:
    """Whether results and raw scans can be written, and have room."""
    devices: defaultdict[int, dict[Path, float]] = defaultdict(dict)
    for folder, need in needed_bytes(config).items():
        try:
            check_writable(folder)
        except UserError as error:
            yield problem(str(error))
            continue
        devices[nearest(folder).stat().st_dev][folder] = need
    for needs in devices.values():
        yield room(needs)


def nearest(folder: Path) -> Path:
    """The folder, or the first above it that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def room(needs: dict[Path, float]) -> Line:
    """Whether a disk has room for what these folders need, in bytes."""
    need, where = sum(needs.values()), " and ".join(map(str, needs))
    free = shutil.disk_usage(nearest(next(iter(needs)))).free
    told = f"{where} can be written to; about {need / 1e9:,.0f} GB are needed, {free / 1e9:,.0f} GB"
    if need > free:
        return problem(f"{told} are free: make room, or move `raw` of the config or the repository")
    return ok(f"{told} are free (a quota may allow less)")


def needed_bytes(config: Config) -> dict[Path, float]:
    """{folder: bytes} that a whole run will still need; a rough estimate."""
    raw = results = 0.0
    for name, dataset in config.datasets.items():
        count, voxels = shards.scan_count(config, name), dataset.grid.size**3
        if isinstance(dataset.source, Zenodo):
            each = 350e9 / 3630  # as in RAD-ChestCT
        else:  # 128 GB are 1,018 series of LIDC-IDRI; a phantom is 360 mm wide; folders stay
            each = 126e6 if isinstance(dataset.source, ImagingDataCommons) else 0.0
            if isinstance(dataset.source, Phantom):
                each = 2 * (360 / dataset.source.voxel_mm) ** 3
        raw += len(unfetched(config, name)) * dataset.source.series_per_job * each
        results += count * voxels * 1.75  # int16, compressed; packed for training
    results += sum(config.sampling.volumes * one.size**3 for one in plan.scored(config))
    results += sum(2.5e9 if size > 64 else 1e8 for _, size, _ in plan.trained(config))  # states
    return {Path("results", config.name): results, Path(config.raw_folder): raw}


def unfetched(config: Config, dataset: str) -> list[str]:
    """The shards of a data set whose scans are not there yet."""
    raw = Path(config.raw_folder, dataset)
    every = shards.shards(config, dataset)
    return [shard for shard in every if not (raw / shard / "verified.json").is_file()]


def token(config: Config) -> Iterator[Line]:
    """Whether there is a token for restricted scans that are not there yet. It is never shown."""
    for name, dataset in config.datasets.items():
        if isinstance(dataset.source, Zenodo) and unfetched(config, name):
            if os.environ.get(TOKEN, "").strip():
                yield ok(f"{TOKEN} is set, for {dataset.label}")
            else:
                yield problem(
                    f"{dataset.label} is restricted and {TOKEN} is not set: put your token there,"
                    " or lay config/lidc_only.yaml over to go without"
                )


def servers(config: Config) -> Iterator[list[str]]:
    """Addresses that something is still to be fetched from; of several, one is enough."""
    for name, dataset in config.datasets.items():
        if isinstance(dataset.source, ImagingDataCommons) and unfetched(config, name):
            yield dataset.source.endpoints
        if isinstance(dataset.source, Zenodo) and unfetched(config, name):
            yield [dataset.source.url]
    missing = [path for path in map(Path, plan.published_weights(config)) if not path.is_file()]
    found = {SOURCES[path.name] for path in missing if path.name in SOURCES}
    yield from ([one] for one in sorted({f"https://{urlsplit(url).hostname}" for url in found}))


def network(config: Config, profile: Profile) -> Iterator[Line]:
    """Whether the servers answer that scans and weights come from."""
    fetches = list(servers(config))
    for addresses in fetches:
        failures = {address: unreachable(address) for address in addresses}
        enough = not all(failures.values())
        for address, why in failures.items():
            told = f"{urlsplit(address).hostname or address}"
            if why is None:
                yield ok(f"{told} answers")
            elif enough:
                yield note(f"{told} cannot be reached ({why}); another server has the same")
            else:
                yield problem(
                    f"{told} cannot be reached from here ({why}): check the connection, firewall"
                    " and https_proxy, or bring the files by hand"
                )
    if fetches and profile.slurm and not config.local_downloads:
        yield note(
            "downloads will run on compute nodes, whose network cannot be seen from here; where"
            " they have none, write `config: local_downloads=true` into the profile"
        )


def unreachable(address: str) -> str | None:
    """Why a server gives no answer; None if it gives any, be it a refusal."""
    try:
        requests.head(address, timeout=TIMEOUT_S)
    except requests.RequestException as error:
        return type(error).__name__
    return None
