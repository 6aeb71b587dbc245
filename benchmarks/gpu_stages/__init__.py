"""The stages of `benchmarks/gpu.py`: what one real GPU is asked, in order of value."""

from __future__ import annotations

from typing import NamedTuple


class Stage(NamedTuple):
    """One process: `run(case, lines)` of a module."""

    name: str
    module: str
    minutes: float
    """That it is expected to take on an H100; it is not begun with less time left."""
    asked: bool = False
    """Whether it is begun only when it is named, or with LONG minutes."""


LIMIT_S = 480.0
"""Of any stage: what shells of rented machines bear."""
LONG = 60.0
"""Minutes from which the stages that must be asked for are begun unasked."""

STAGES = [
    Stage("site", "gpu_stages.site", 0.5),
    Stage("parity", "gpu_stages.parity", 4),
    Stage("silence", "gpu_stages.silence", 1),
    Stage("train", "gpu_stages.train_speed", 6),
    Stage("sample", "gpu_stages.sample_speed", 6),
    Stage("memory", "gpu_stages.memory", 3),
    Stage("resume", "gpu_stages.resume", 2),
    Stage("rivals", "gpu_stages.rivals", 2),
    Stage("small", "gpu_stages.small", 3),
    Stage("small_gpu", "gpu_stages.small_gpu", 8, asked=True),
]
