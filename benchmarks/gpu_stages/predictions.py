"""What a time model predicted before any GPU had been measured; to be compared with, not bounds.

From recorded operations, and rates that were assumed: A100 265, Hopper 780 TFLOP/s of large
products, 1.6, 2.75 and 3.9 TB/s. Expected to be off by 15 %, and more where what is compiled has
changed since.
"""

from __future__ import annotations

CARDS = ("A100", "H100", "H200")
TRAINING: dict[str, tuple[float, float, float]] = {
    "PRDiT-local": (3.64, 1.66, 1.41),
    "PRDiT-4L": (12.4, 5.2, 4.7),
    "PRDiT-8L": (21.8, 8.9, 8.2),
    "PRDiT-12L": (31.1, 12.6, 11.8),
    "PRDiT-4L@rad": (22.0, 8.9, 8.4),
    "PRDiT-12L@rad": (58.4, 23.4, 22.2),
    "PRDiT-4L-up": (33.3, 15.0, 12.7),
    "PRDiT-4L-up-fine-tuned": (43.2, 18.9, 16.4),
}
"""ms a volume by card, bfloat16, blocks compiled; micro-batch 16, at 256^3 8."""
SAMPLING: dict[tuple[str, int], tuple[float, float, float]] = {
    ("PRDiT-4L", 1): (4.35, 1.88, 1.78),
    ("PRDiT-4L", 8): (3.88, 1.52, 1.42),
    ("PRDiT-8L", 1): (6.97, 3.08, 2.94),
    ("PRDiT-8L", 8): (6.32, 2.46, 2.33),
    ("PRDiT-12L", 1): (9.60, 4.27, 4.11),
    ("PRDiT-12L", 8): (8.77, 3.40, 3.24),
    ("PRDiT-12L@rad", 1): (18.8, 7.1, 6.9),
    ("PRDiT-12L@rad", 8): (15.9, 6.3, 6.1),
    ("PRDiT-4L-up", 1): (12.5, 5.3, 4.75),
    ("PRDiT-4L-up", 8): (11.7, 4.8, 4.3),
}
"""ms a volume and step by model and batch."""


def beside(predicted: tuple[float, float, float] | None, card: str) -> str:
    """What was predicted for a card, as words after a measured value."""
    for name, value in zip(CARDS, predicted or (), strict=False):
        if name in card:
            return f" (predicted {value:g})"
    return ""
