"""What a person asks for by hand: verbs that are no steps of the workflow."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prdit.errors import UserError

if TYPE_CHECKING:
    from prdit.config import Config


def _configfile(parser: argparse.ArgumentParser) -> None:
    """The option that Snakemake has, by its name."""
    parser.add_argument(
        "--configfile",
        type=Path,
        nargs="+",
        default=[Path("config/paper.yaml")],
        metavar="YAML",
        help="each laid over those before (config/paper.yaml)",
    )


def _defined(dataset: str, config: Config) -> str:
    """A data set's name. Raises UserError if the config defines none of that name."""
    from prdit.config.checks import suggest

    if dataset not in config.datasets:
        near = suggest(dataset, config.datasets)
        raise UserError(f"the data set '{dataset}' is not defined{near}")
    return dataset


def fetch(words: Sequence[str]) -> None:
    """Raw scans, where nodes of a cluster have no internet: `python -m prdit fetch lidc`."""
    parser = argparse.ArgumentParser(
        "prdit fetch",
        allow_abbrev=False,
        description="Download a data set of the config shard by shard, as the workflow would. What"
        " is there and whole is kept; Snakemake finds it done.",
    )
    parser.add_argument("dataset", help="name of a data set in the config")
    _configfile(parser)
    arguments = parser.parse_args(words)
    from prdit.config.file import load_file
    from prdit.downloads import fetch_all

    config = load_file(*arguments.configfile)
    fetch_all(config, _defined(arguments.dataset, config))


def preprocess(words: Sequence[str]) -> None:
    """Your own CT: `python -m prdit preprocess SCAN OUT.nii.gz`."""
    parser = argparse.ArgumentParser(
        "prdit preprocess",
        allow_abbrev=False,
        description="Resample one CT to a cube in HU; its facts go to a CSV.",
    )
    parser.add_argument("scan", type=Path, help="folder of one DICOM series, or an image file")
    parser.add_argument("out", type=Path, help="NIfTI to write, ending in .nii.gz or .nii")
    parser.add_argument("--series", help="SeriesInstanceUID, where the folder holds several")
    parser.add_argument("--size", type=int, default=256, help="voxels per edge (256)")
    parser.add_argument("--spacing-mm", type=float, default=1.0, help="voxel size (1.0)")
    from prdit.data.own import preprocess_own

    preprocess_own(**vars(parser.parse_args(words)))


def convert(words: Sequence[str]) -> None:
    """Weights of the released code: `python -m prdit convert CHECKPOINT OUT --size 128`."""
    parser = argparse.ArgumentParser(
        "prdit convert",
        allow_abbrev=False,
        description="A checkpoint of the released code as a weights file.",
    )
    parser.add_argument("checkpoint", type=Path, help=".pt of the released code, or .safetensors")
    parser.add_argument("out", type=Path, help="weights file to write, .safetensors")
    parser.add_argument("--size", type=int, required=True, help="edge in voxels it was trained on")
    parser.add_argument("--heads", type=int, help="only for widths that were not released")
    parser.add_argument("--raw", action="store_true", help="weights before averaging")
    parser.add_argument("--noise-std", type=float, default=0.5, help="of eps (0.5)")
    parser.add_argument(
        "--window",
        type=float,
        nargs=2,
        default=(-1000.0, 1000.0),
        metavar=("LOW", "HIGH"),
        help="nominal HU of -1 and 1 (-1000 1000)",
    )
    parser.add_argument("--spacing-mm", type=float, help="voxel size (256 / size)")
    from prdit.generators.convert import convert as convert_checkpoint

    convert_checkpoint(**vars(parser.parse_args(words)))


def describe(words: Sequence[str]) -> None:
    """Parameters, operations and memory of a model: `python -m prdit describe MODEL`."""
    parser = argparse.ArgumentParser(
        "prdit describe", description=describe.__doc__, allow_abbrev=False
    )
    parser.add_argument("model", help="name of a model in the config")
    _configfile(parser)
    parser.add_argument("--size", type=int, default=128, help="edge of the volumes (128)")
    parser.add_argument("--dataset", help="where models differ between data sets")
    arguments = parser.parse_args(words)
    from prdit.config.checks import check_model
    from prdit.config.file import load_file
    from prdit.generators.describe import describe as parts
    from prdit.generators.describe import in_words

    config, name, size = load_file(*arguments.configfile), arguments.model, arguments.size
    if arguments.dataset is not None:
        config = config.on(_defined(arguments.dataset, config))
    try:
        check_model(config, name, size)
    except ValueError as error:
        raise UserError(str(error)) from None
    print(in_words(name, size, parts(config.models[name], size, config.base(name))))


def doctor(words: Sequence[str]) -> None:
    """Whether a site is ready for a run: `python -m prdit doctor --profile slurm`."""
    parser = argparse.ArgumentParser(
        "prdit doctor",
        allow_abbrev=False,
        description="Check this site before a first run: packages, GPU, SLURM, disk, network. One"
        " line per check; exit status 2 if there is a PROBLEM. Nothing is written or submitted.",
    )
    _configfile(parser)
    parser.add_argument("--profile", help="as Snakemake takes it, e.g. slurm")
    arguments = parser.parse_args(words)
    from prdit.doctor import report

    report(arguments.configfile, arguments.profile)


def plan(words: Sequence[str]) -> None:
    """What would run, why, and what it takes, before it runs: `python -m prdit plan`."""
    from prdit.plan import report

    parser = argparse.ArgumentParser("prdit plan", description=plan.__doc__, allow_abbrev=False)
    _configfile(parser)
    for option, default, text in (
        ("--share", report.SHARE, "share of an A100's peak that is reached"),
        ("--gpu-kw", report.GPU_KW, "mean kW per GPU, node and overhead of the centre included"),
        ("--co2e", report.CO2E_KG_PER_KWH, "kg CO2e per kWh"),
    ):
        parser.add_argument(option, type=_above_zero, default=default, help=f"{text} (%(default)s)")
    arguments = parser.parse_args(words)
    if arguments.share > 1:
        parser.error("--share is a share: at most 1")
    print(report.plan(arguments.configfile, arguments.share, arguments.gpu_kw, arguments.co2e))


def _above_zero(text: str) -> float:
    if not 0 < (value := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def schema(words: Sequence[str]) -> None:
    """Print the JSON schema of the config, or its keys as a page, made from its models."""
    import json

    from prdit.config import Config
    from prdit.config.reference import markdown

    parser = argparse.ArgumentParser("prdit schema", description=schema.__doc__, allow_abbrev=False)
    parser.add_argument("--markdown", action="store_true", help="docs/configuration.md")
    if parser.parse_args(words).markdown:
        print(markdown())
    else:
        print(json.dumps(Config.model_json_schema(), indent=1, sort_keys=True))


BY_HAND = {
    "fetch": fetch,
    "preprocess": preprocess,
    "convert": convert,
    "describe": describe,
    "plan": plan,
    "doctor": doctor,
    "schema": schema,
}
"""Verbs that are no steps of the workflow."""
