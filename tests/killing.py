"""A training that is killed at random moments, and started again until it ends.

    python tests/killing.py KILLS SEED JSON   # JSON: the keywords of prdit.training.run.run

Attempts are forked, so that each takes a fraction of a second, and die by SIGKILL. Prints how many
were killed, and how many of these left a file that was being written.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from prdit.recipes import TrainRecipe
from prdit.training.run import run


def attempt(about: dict[str, Any]) -> None:
    """One attempt in a process of its own; never returns."""
    recipe = TrainRecipe.model_validate(about.pop("recipe"))
    paths = {key: Path(about.pop(key)) for key in ("volumes", "weights", "record", "history")}
    with open(paths["record"].with_suffix(".log"), "a") as log:
        os.dup2(log.fileno(), 2)
        run(recipe, start_from=None, **paths, **about)
    os._exit(0)


def main() -> None:
    kills, seed, about = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    moments, killed, writing = random.Random(seed), 0, 0
    states = Path(about["weights"]).parent / "states"
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # imports for a second, here for all
    while True:
        child = os.fork()
        if child == 0:
            attempt(about)
        if killed < kills:
            time.sleep(moments.uniform(0.2, 0.8))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            print(json.dumps({"killed": killed, "writing": writing, "status": status}))
            return
        killed += 1
        writing += any(states.glob("*/.*.safetensors"))


if __name__ == "__main__":
    main()
