"""Writes what bounds.json tells of the paper's networks into docs/gpu.md, between two marks."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE, BOUNDS = ROOT / "docs/gpu.md", Path(__file__).with_name("bounds.json")
START, END = "<!-- gpu-dry: made by tests/gpu_dry/table.py -->", "<!-- gpu-dry: end -->"
CARD = "sm_80"

PREDICTED = {
    "lidc/128/PRDiT-local": 5.2,
    "lidc/128/PRDiT-4L": 12.0,
    "lidc/128/PRDiT-8L": 20.2,
    "lidc/128/PRDiT-12L": 28.4,
    "rad/128/PRDiT-4L": 17.8,
    "rad/128/PRDiT-12L": 43.8,
    "lidc/256/PRDiT-4L-up": 22,
    "lidc/256/PRDiT-4L-up-fine-tuned": 26,
}
"""GB at most in training, by an earlier count in which each block was compiled by itself."""


def table(bounds: dict[str, dict[str, dict[str, float]]]) -> str:
    """Markdown: a line per network of the paper's config, as trained and as drawn from."""
    found = bounds[CARD]
    lines = [
        "| training | micro-batch | kernels | GB a volume | held before it, GB | peak GB"
        " | predicted earlier |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in rows(found, "training"):
        predicted = PREDICTED.get(name, "")
        lines.append(
            f"| {name} | {one['count']:.0f} | {one['launches']:.0f} | {one['gigabytes']:g}"
            f" | {one['held']:g} | {one['peak']:g} | {predicted} |"
        )
    lines += [
        "",
        "| sampling | volumes at a time | kernels a step | GB a volume and step"
        " | held before it, GB | peak GB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in rows(found, "sampling"):
        lines.append(
            f"| {name} | {one['count']:.0f} | {one['launches']:.0f} | {one['gigabytes']:g}"
            f" | {one['held']:g} | {one['peak']:g} |"
        )
    return "\n".join(lines)


def rows(found: dict[str, dict[str, float]], kind: str) -> list[tuple[str, dict[str, float]]]:
    """Names of the paper's networks below their config, and what is recorded of them."""
    start = f"{kind}/paper/"
    return [(name.removeprefix(start), found[name]) for name in found if name.startswith(start)]


def page(text: str, made: str) -> str:
    """The page with the table between its marks."""
    before, rest = text.split(START)
    return f"{before}{START}\n\n{made}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(), table(json.loads(BOUNDS.read_text()))))
