"""One stage in a process of its own: `python -m gpu_stages.child JSON`."""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path

MORE = 3
"""Exit status of a stage that goes on where it is when it is begun again."""
SPARE = 0.95
"""Share of its time limit after which a stage begins nothing new."""


def main() -> None:
    told = json.loads(sys.argv[1])
    began = time.monotonic()
    import torch

    from prdit.machine import compiled
    from prdit.machine.device import uses_gpu

    from .case import Case
    from .lines import Lines

    if told["device"] == "cpu":  # Inductor's C++ takes half a minute a shape: trace, no more
        compiled.BACKEND = "eager"
        torch.set_num_threads(1)  # at tiny sizes, several wait for each other
        torch.compile = functools.partial(torch.compile, backend="eager")
    case = Case(
        # Not reserved, or trainings that a stage starts would find it taken, and say so.
        device=torch.device("cuda", 0) if uses_gpu() else torch.device("cpu"),
        out=Path(told["out"]),
        golden=Path(told["golden"]) if told["golden"] else None,
        deadline=began + SPARE * told["limit_s"],
    )
    lines = Lines(Path(told["lines"]))
    more = import_module(told["module"]).run(case, lines)
    if compiled.gave_up():
        lines.holds("compiled to the end", False, "something failed to compile", "compiled")
    sys.stdout.flush()
    os._exit(MORE if more else 0)  # not held up by what a stage left running


if __name__ == "__main__":
    main()
