"""The command line: one verb per step of the workflow, and those a person uses by hand."""

from __future__ import annotations

import argparse
import inspect
import math
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from textwrap import fill
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import ValidationError

from prdit import __version__
from prdit.by_hand import BY_HAND
from prdit.config.checks import suggest
from prdit.errors import Interrupted, OutOfMemory, UserError

STEPS = {
    "phantom": "prdit.data.sources.phantoms",
    "fetch-series": "prdit.data.sources.idc",
    "list-record": "prdit.data.sources.record_list",
    "fetch-scans": "prdit.data.sources.record_scans",
    "look-through": "prdit.data.sources.folder",
    "fetch-weights": "prdit.published_weights",
    "preprocess-shard": "prdit.data.preprocess",
    "ledger": "prdit.data.ledger",
    "pack": "prdit.data.store",
    "train": "prdit.training.run",
    "take": "prdit.generators.take",
    "sample": "prdit.generators.draw",
    "time": "prdit.generators.timing",
    "features": "prdit.metrics.feature_sets",
    "score": "prdit.metrics.score",
    "critic": "prdit.critic.run",
    "critics": "prdit.report.critics",
    "scores": "prdit.report.scores",
    "costs": "prdit.report.costs",
    "stages": "prdit.report.stages",
    "table": "prdit.report.tables",
    "settings": "prdit.report.settings",
    "all-metrics": "prdit.report.all_metrics",
    "figure": "prdit.report.figures",
    "branches": "prdit.generators.branches",
    "branches-figure": "prdit.report.branches",
    "cavities": "prdit.report.cavities",
    "closest": "prdit.report.closest",
    "quality": "prdit.report.quality",
    "curves": "prdit.report.curves",
    "provenance": "prdit.report.provenance",
    "site": "prdit.report.site",
}
"""Verb of a step -> the module whose `run` does it. A step's options are its run's parameters."""

MOST = 4096
"""Threads, processes, volumes at a time."""
TRY_AGAIN = 75
"""Exit status of a run that was interrupted and can go on: EX_TEMPFAIL of sysexits.h."""

DESCRIPTION = """\
PRDiT: 3D chest-CT volumes generated in voxel space, from DICOM to the paper's tables.

Runs are started by Snakemake, in the repository's own folder:
  make quickstart                                           all of it in miniature, on a CPU
  snakemake -n --configfile config/paper.yaml               the paper's jobs, listed
  snakemake --profile slurm --configfile config/paper.yaml  the paper's run
"""


WRAPPED: Any = {
    "initial_indent": "  ",
    "subsequent_indent": " " * 6,
    "break_on_hyphens": False,
}


def manual() -> str:
    """What follows the options in `prdit --help`."""
    rooms: dict[str, list[str]] = {}
    for name, module in STEPS.items():
        rooms.setdefault(module.split(".")[1], []).append(name)
    steps = "\n".join(
        fill(f"{room}: {', '.join(names)}", 90, **WRAPPED) for room, names in rooms.items()
    )
    return f"""\
verbs by hand:
  preprocess SCAN OUT.nii.gz   a CT (folder of DICOM, or .mha/.nii/.nrrd) as a 256^3 volume in HU
  describe MODEL               parameters, operations and memory of a model of the config
  plan                         what would run, why, and what it takes, before it runs
  doctor                       whether this site is ready for a run, one line per check
  fetch DATASET                raw scans of a data set of the config, where it looks for them
  convert CHECKPOINT OUT       weights of the released code as a weights file
  schema                       JSON schema of the config

examples:
  python -m prdit preprocess ~/scans/0042 chest.nii.gz
  python -m prdit describe PRDiT-4L --size 128
  python -m prdit plan --configfile config/paper.yaml config/lidc_only.yaml
  python -m prdit doctor --configfile config/paper.yaml --profile slurm
  python -m prdit fetch lidc
  python -m prdit convert CHECKPOINT.pt prdit.safetensors --size 128

verbs of the workflow's jobs, by room of the package; `snakemake -p` prints their command
lines, each of which can be repeated by hand:
{steps}

exit status: 0; 2 after one sentence on what you can mend; 75 where the same command goes on;
130 after Ctrl-C. `python -m prdit VERB --help` tells a verb's options, docs/ the rest."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb. Exit status 0; 2 with one sentence on stderr for what a user can mend;
    75 for a run that was interrupted and can go on."""
    parser = argparse.ArgumentParser(
        "prdit",
        description=DESCRIPTION,
        epilog=manual(),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"prdit {__version__}")
    parser.add_argument("verb", metavar="VERB", help="as below")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="its options")
    arguments = parser.parse_args(argv)
    if arguments.verb not in (known := [*BY_HAND, *STEPS]):
        parser.error(f"there is no verb '{arguments.verb}'{suggest(arguments.verb, known)}")
    try:
        verb(arguments.verb)(arguments.rest)
    except (UserError, OutOfMemory) as error:
        print(f"prdit {arguments.verb}: {error}", file=sys.stderr)
        return 2
    except Interrupted as error:
        print(f"prdit {arguments.verb}: {error}", file=sys.stderr)
        return TRY_AGAIN
    except BrokenPipeError:  # `prdit plan | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, RuntimeError, MemoryError) as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        print(f"prdit {arguments.verb}: {sentence}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"prdit {arguments.verb}: stopped by Ctrl-C", file=sys.stderr)
        return 130
    return 0


def _sentence(error: Exception) -> str | None:
    """What to say of an error that a user can mend; None of any other."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if "torch" in sys.modules:  # nor is it imported for this
        from prdit.machine.memory import asked_for

        asked = asked_for(error)
    else:
        asked = str(error) or "more than there is" if isinstance(error, MemoryError) else None
    if asked is None:
        return None
    return (
        f"out of memory ({asked}): something else holds it, or this machine has too little; ask for"
        " more, lower --batch or wait, and run this again"
    )


def verb(name: str) -> Callable[[Sequence[str]], None]:
    """What to do with the words after a verb."""
    if name in STEPS:
        return lambda words: step(name, words)
    return BY_HAND[name]


def step(name: str, words: Sequence[str]) -> None:
    """Call `run` of a step's module; --recipe is JSON, every other option a path or a number."""
    run = import_module(STEPS[name]).run
    types = get_type_hints(run)
    parser = argparse.ArgumentParser(
        f"prdit {name}", description=inspect.getdoc(run), allow_abbrev=False
    )
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
            bounds = f"from 1 to {MOST}" if kind is int else "from 0 on, and finite"
            raise argparse.ArgumentTypeError(f"invalid {kind.__name__} {text}; write one {bounds}")
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
