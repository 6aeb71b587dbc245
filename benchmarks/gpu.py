"""One real card: what only a GPU can show, in stages of at most 8 minutes, in order of value.

    python benchmarks/gpu.py [--stage NAME ...] [--minutes N] [--out DIR] [--device cpu]

Each stage is a process of its own; what it finds is in DIR/gpu.json and, as a table, DIR/gpu.md at
once. The same command again goes on where it was: a stage that came to its end with the same code
on the same kind of card is not run again. On a CPU, all of it is rehearsed at tiny sizes.
The exit status is 0, 1 if a line failed or there is no GPU, 2 if what is asked for cannot be done,
and 128 and its number after a signal.
"""

from __future__ import annotations

import math
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gpu_stages import STAGES
from gpu_stages.runner import Order, carry_out
from gpu_stages.stops import Refused, Stopped, heed

FOLDERS = {"cuda": Path("results/gpu"), "cpu": Path("results/gpu-rehearsal")}


def minutes(text: str) -> float:
    """A positive number."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ArgumentTypeError(f"{text} is no positive number")
    return number


def main() -> int:
    parser = ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--stage", nargs="+", action="extend", metavar="NAME", help="these only, in this order"
    )
    parser.add_argument("--minutes", type=minutes, default=30.0, help="for all of it (30)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"{FOLDERS['cuda']}, or of a rehearsal {FOLDERS['cpu']}",
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument(
        "--golden", type=Path, metavar="DIR", help="vectors recorded from the released code"
    )
    parser.add_argument("--again", action="store_true", help="also what is there already")
    told = parser.parse_args()
    by_name = {stage.name: stage for stage in STAGES}
    unknown = [name for name in told.stage or [] if name not in by_name]
    if unknown:
        print(f"no stage {unknown[0]!r}; there are {', '.join(by_name)}", file=sys.stderr)
        return 2
    if told.golden and not told.golden.is_dir():
        print(f"--golden {told.golden}: there is no such folder", file=sys.stderr)
        return 2
    stages = [by_name[name] for name in told.stage or by_name]
    out = told.out or FOLDERS[told.device]
    order = Order(stages, bool(told.stage), out, told.device, told.minutes, told.golden, told.again)
    return said_how_it_ended(order)


def said_how_it_ended(order: Order) -> int:
    """Carry it out; whatever stops it is a sentence."""
    try:
        heed()
        return carry_out(order)
    except Stopped as stop:
        name = signal.Signals(stop.number).name
        print(f"\nstopped by {name}; the same command goes on where it was", file=sys.stderr)
        return 128 + stop.number
    except Refused as why:
        print(why, file=sys.stderr)
    except OSError as error:
        what = f" ({error.filename})" if error.filename else ""
        why = "it is no folder" if isinstance(error, FileExistsError) else error.strerror or error
        print(f"nothing can be kept in {order.out}: {why}{what}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
