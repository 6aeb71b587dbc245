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

    from .case import Case
    from .lines import Lines

    if told["device"] == "cpu":  # Inductor's C++ takes half a minute a shape: trace, no more
        torch.compile = functools.partial(torch.compile, backend="eager")
        device = torch.device("cpu")
    else:
        device = torch.device("cuda", 0)
        torch.cuda.set_device(device)
    case = Case(
        device=device,
        out=Path(told["out"]),
        golden=Path(told["golden"]) if told["golden"] else None,
        deadline=began + SPARE * told["limit_s"],
    )
    more = import_module(told["module"]).run(case, Lines(Path(told["lines"])))
    sys.stdout.flush()
    os._exit(MORE if more else 0)  # not held up by what a stage left running


if __name__ == "__main__":
    main()
