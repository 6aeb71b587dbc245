"""One real card: what only a GPU can show, in stages of at most 8 minutes, in order of value.

    python benchmarks/gpu.py [--stage NAME ...] [--minutes N] [--out DIR] [--device cpu]

Each stage is a process of its own; what it finds is in DIR/gpu.json and, as a table, DIR/gpu.md at
once. The same command again goes on where it was: a stage that came to its end with the same code
on the same kind of card is not run again. On a CPU, all of it is rehearsed at tiny sizes.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gpu_stages import STAGES
from gpu_stages.runner import Order, carry_out


def main() -> int:
    parser = ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--stage", nargs="+", action="extend", metavar="NAME", help="these only, in this order"
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="for all of it (30)")
    parser.add_argument("--out", type=Path, default=Path("results/gpu"), metavar="DIR")
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
    stages = [by_name[name] for name in told.stage or by_name]
    order = Order(
        stages, bool(told.stage), told.out, told.device, told.minutes, told.golden, told.again
    )
    return carry_out(order)


if __name__ == "__main__":
    raise SystemExit(main())
