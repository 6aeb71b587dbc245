"""The command line: one verb per step of the workflow, and those a person uses by hand."""

from __future__ import annotations

import argparse
import inspect
import math
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import ValidationError

from prdit import __version__
from prdit.errors import Interrupted, OutOfMemory, UserError

STEPS = {
    "phantom": "prdit.data.sources.phantoms",
    "fetch": "prdit.data.sources.idc",
    "preprocess-shard": "prdit.data.preprocess",
    "ledger": "prdit.data.ledger",
    "pack": "prdit.data.store",
    "train": "prdit.training.run",
    "sample": "prdit.generators.draw",
    "time": "prdit.generators.timing",
    "feature-weights": "prdit.metrics.medicalnet",
    "features": "prdit.metrics.feature_sets",
    "score": "prdit.metrics.score",
    "scores": "prdit.report.scores",
    "table": "prdit.report.tables",
    "figure": "prdit.report.figures",
}
"""Verb of a step -> the module whose `run` does it. A step's options are its run's parameters."""

MOST = 4096
"""Threads, processes, volumes at a time."""
TRY_AGAIN = 75
"""Exit status of a run that was interrupted and can go on: EX_TEMPFAIL of sysexits.h."""

HELP = """\
by hand:
  preprocess SCAN OUT.nii.gz   a CT (folder of DICOM, or .mha/.nii/.nrrd) as a 256^3 volume in HU
  convert CHECKPOINT OUT       weights of the released code as a weights file
  describe MODEL               parameters, operations and memory of a model of the config
  schema                       JSON schema of the config

steps of the workflow (`snakemake -p` prints their full command lines):
  """ + ", ".join(STEPS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb. Exit status 0; 2 with one sentence on stderr for what a user can mend;
    75 for a run that was interrupted and can go on."""
    parser = argparse.ArgumentParser(
        "prdit",
        description="PRDiT: 3D chest-CT volumes generated in voxel space.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"prdit {__version__}")
    parser.add_argument("verb", choices=[*BY_HAND, *STEPS], metavar="VERB")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...")
    arguments = parser.parse_args(argv)
    try:
        verb(arguments.verb)(arguments.rest)
    except (UserError, OutOfMemory) as error:
        print(f"prdit {arguments.verb}: {error}", file=sys.stderr)
        return 2
    except Interrupted as error:
        print(f"prdit {arguments.verb}: {error}", file=sys.stderr)
        return TRY_AGAIN
    except KeyboardInterrupt:
        print(f"prdit {arguments.verb}: stopped by Ctrl-C", file=sys.stderr)
        return 130
    return 0


def verb(name: str) -> Callable[[Sequence[str]], None]:
    """What to do with the words after a verb."""
    if name in STEPS:
        return lambda words: step(name, words)
    return BY_HAND[name]


def step(name: str, words: Sequence[str]) -> None:
    """Call `run` of a step's module; --recipe is JSON, every other option a path or a number."""
    run = import_module(STEPS[name]).run
    types = get_type_hints(run)
    parser = argparse.ArgumentParser(f"prdit {name}", description=inspect.getdoc(run))
    for parameter in inspect.signature(run).parameters.values():
        option = _option(types, parameter.name)
        if parameter.default is not parameter.empty:
            option |= {"required": False, "default": parameter.default}
        parser.add_argument(f"--{parameter.name.replace('_', '-')}", **option)
    run(**vars(parser.parse_args(words)))


def _option(types: dict[str, Any], name: str) -> dict[str, Any]:
    kind = types[name]
    if name == "recipe":
        return {"type": _reader(kind), "required": True, "metavar": "JSON"}
    if kind == list[Path]:
        return {"type": Path, "nargs": "*", "default": [], "metavar": "PATH"}
    if get_origin(kind) is Literal:
        return {"choices": get_args(kind), "required": True}
    if kind in (int, float):
        return {"type": _number(kind), "required": True, "metavar": kind.__name__.upper()}
    if type(None) in get_args(kind):  # may be left out, or stand without a value
        kind = get_args(kind)[0]
        return {"type": kind, "nargs": "?", "metavar": kind.__name__.upper()}
    return {"type": kind, "required": True, "metavar": kind.__name__.upper()}


def _number(kind: type) -> Callable[[str], Any]:
    """Counts from 1 to 4096, and times from 0 on."""

    def number(text: str) -> Any:
        value = kind(text)
        if (kind is int and not 1 <= value <= MOST) or not 0 <= value < math.inf:
            raise ValueError(f"{text} is no {kind.__name__} that makes sense here")
        return value

    number.__name__ = kind.__name__
    return number


def _reader(kind: Any) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "all of it"
            raise UserError(f"--recipe is no {kind.__name__}: {where}: {first['msg']}") from None

    return read


def preprocess(words: Sequence[str]) -> None:
    """Your own CT: `prdit preprocess SCAN OUT.nii.gz`."""
    parser = argparse.ArgumentParser(
        "prdit preprocess", description="Resample one CT to a cube in HU; its facts go to a CSV."
    )
    parser.add_argument("scan", type=Path, help="folder of one DICOM series, or an image file")
    parser.add_argument("out", type=Path, help="NIfTI to write, ending in .nii.gz or .nii")
    parser.add_argument("--series", help="SeriesInstanceUID, where the folder holds several")
    parser.add_argument("--size", type=int, default=256, help="voxels per edge (256)")
    parser.add_argument("--spacing-mm", type=float, default=1.0, help="voxel size (1.0)")
    from prdit.data.own import preprocess_own

    preprocess_own(**vars(parser.parse_args(words)))


def convert(words: Sequence[str]) -> None:
    """Weights of the released code: `prdit convert CHECKPOINT OUT.safetensors --size 128`."""
    parser = argparse.ArgumentParser(
        "prdit convert", description="A checkpoint of the released code as a weights file."
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
    """Parameters, operations and memory of a model: `prdit describe MODEL`."""
    parser = argparse.ArgumentParser("prdit describe", description=describe.__doc__)
    parser.add_argument("model", help="name of a model in the config")
    parser.add_argument("--config", type=Path, default=Path("config/paper.yaml"))
    parser.add_argument("--size", type=int, default=128, help="edge of the volumes (128)")
    arguments = parser.parse_args(words)
    from prdit.config.checks import check_model
    from prdit.config.file import load_file
    from prdit.generators.describe import describe as parts
    from prdit.generators.describe import in_words

    config, name, size = load_file(arguments.config), arguments.model, arguments.size
    try:
        check_model(config, name, size)
    except ValueError as error:
        raise UserError(str(error)) from None
    print(in_words(name, size, parts(config.models[name], size, config.base(name))))


def schema(words: Sequence[str]) -> None:
    """Print the JSON schema of the config, made from its models."""
    import json

    from prdit.config import Config

    argparse.ArgumentParser("prdit schema", description=schema.__doc__).parse_args(words)
    print(json.dumps(Config.model_json_schema(), indent=1, sort_keys=True))


BY_HAND = {"preprocess": preprocess, "convert": convert, "describe": describe, "schema": schema}
"""Verbs that are no steps of the workflow."""
