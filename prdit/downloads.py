"""A whole data set by hand: the files that the workflow's rules make, shard after shard."""

from __future__ import annotations

from pathlib import Path

from prdit import instructions, shards
from prdit.config import Config, ImagingDataCommons, Zenodo
from prdit.data.sources import idc, record_list, record_scans
from prdit.errors import UserError
from prdit.recipes import DownloadRecipe, FetchRecipe


def fetch_all(config: Config, dataset: str) -> None:
    """Download what is missing of a data set of the Imaging Data Commons or of Zenodo.

    Raises:
        UserError: another kind of source, or a download failed.
    """
    source, raw = config.datasets[dataset].source, Path(config.raw_folder, dataset)
    if not isinstance(source, ImagingDataCommons | Zenodo):
        raise UserError(
            f"datasets.{dataset} is of kind {source.kind}: there is nothing to download"
        )
    manifest = raw / "manifest.csv"
    if isinstance(source, Zenodo) and not manifest.is_file():
        record_list.run(instructions.record_recipe(config, dataset), manifest=manifest)
    for shard in shards.shards(config, dataset):
        verified = raw / shard / "verified.json"
        if not verified.is_file():
            recipe = shards.raw_recipe(config, dataset, shard)
            if isinstance(recipe, DownloadRecipe):
                record_scans.run(recipe, manifest=manifest, verified=verified)
            elif isinstance(recipe, FetchRecipe):
                idc.run(recipe, verified=verified)
        print(f"{verified}: complete", flush=True)
