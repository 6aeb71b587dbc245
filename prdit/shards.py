"""How each data set is divided into jobs, and which scans each of them has.

Every number of jobs is known before the first job runs, so that the plan never waits for data. Like
`prdit.experiments`, of which this is the data's part: no torch, and no files but manifests and the
names in folders of a user's own scans.
"""

from __future__ import annotations

import hashlib
import math
from functools import cache
from pathlib import Path

from prdit import recipes
from prdit.config import Config, Dicom, Folder, ImagingDataCommons, Nifti, Npz, Zenodo
from prdit.data.sources.listing import stamp, units
from prdit.errors import UserError
from prdit.files import read_csv, sha256

MANIFEST = ("series_uid", "patient_id", "crdc_series_uuid", "files", "bytes")
"""Columns of a manifest of the Imaging Data Commons."""


def numbered(total: int, each: int) -> list[str]:
    """Numbers of the jobs that share `total` things out, `each` of them to a job."""
    return [f"{i:03d}" for i in range(math.ceil(total / each))]


def extent(number: str, total: int, each: int) -> dict[str, int]:
    """The first of the things that the job of this number has, and how many."""
    first = int(number) * each
    return {"first": first, "count": min(each, total - first)}


def shards(config: Config, dataset: str) -> list[str]:
    """Portions that a data set is fetched and preprocessed in."""
    return numbered(scan_count(config, dataset), config.datasets[dataset].source.series_per_job)


def scan_count(config: Config, dataset: str) -> int:
    """Number of scans of a data set; of a folder of DICOM files, the number of its folders."""
    source = config.datasets[dataset].source
    if isinstance(source, ImagingDataCommons):
        return len(manifest(source.manifest))
    if isinstance(source, Zenodo):
        return source.scans
    if isinstance(source, Folder):
        return len(units(place(source), source.kind))
    return source.count


@cache
def manifest(path: str) -> list[dict[str, str]]:
    """Rows of a manifest of the Imaging Data Commons, a series each."""
    return read_csv(Path(path), MANIFEST, "correct source.manifest, or the file")


def check_sources(config: Config) -> None:
    """Raise UserError unless all files that a config names are there, and folders hold scans.

    Snakemake would take what was made of a file that is gone for good.
    """
    for name, model in config.models.items():
        if model.weights is not None and not Path(model.weights).is_file():
            raise UserError(f"models.{name}.weights: there is no file {model.weights}")
    for name, dataset in config.datasets.items():
        if scan_count(config, name) == 0:
            raise UserError(f"datasets.{name}.source holds no scans: {dataset.source!r}")
        if isinstance(dataset.source, Folder):
            _check_folder(config, name, place(dataset.source))


def _check_folder(config: Config, dataset: str, folder: Path) -> None:
    """Raise UserError where a job would have to, or where results would become scans."""
    for made in (Path("results"), Path(config.raw_folder)):
        if made.resolve().is_relative_to(folder.resolve()):
            raise UserError(
                f"datasets.{dataset}.source.folder ({folder}) contains {made}/, whose volumes would"
                " be taken for scans; choose a folder with scans alone"
            )
    for shard in shards(config, dataset):
        raw_recipe(config, dataset, shard)


def place(source: Folder) -> Path:
    """The folder of a source, `~` being the user's own."""
    return Path(source.folder).expanduser()


Raw = recipes.FetchRecipe | recipes.DownloadRecipe | recipes.FolderRecipe | recipes.PhantomRecipe


def raw_recipe(config: Config, dataset: str, shard: str) -> Raw:
    """Recipe of the job that gets, makes or looks through one shard of raw scans."""
    source = config.datasets[dataset].source
    part = extent(shard, scan_count(config, dataset), source.series_per_job)
    if isinstance(source, ImagingDataCommons):
        digest = sha256(Path(source.manifest))
        return recipes.FetchRecipe(
            manifest=source.manifest,
            manifest_sha256=digest,
            endpoints=source.endpoints,
            **part,
        )
    if isinstance(source, Zenodo):
        return recipes.DownloadRecipe(url=source.url, record=source.record, **part)
    if isinstance(source, Dicom | Nifti | Npz):
        return _folder_recipe(source, **part)
    return recipes.PhantomRecipe(source=source, **part)


def _folder_recipe(source: Dicom | Nifti | Npz, first: int, count: int) -> recipes.FolderRecipe:
    folder = place(source)
    chosen = units(folder, source.kind)[first : first + count]
    digest = hashlib.sha256("".join(stamp(folder / unit) for unit in chosen).encode())
    if source.patients is not None:
        digest.update(sha256(Path(source.patients.file)).encode())
    return recipes.FolderRecipe(source=source, units=chosen, listing_sha256=digest.hexdigest())
