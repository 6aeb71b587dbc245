"""Every network that the shipped configs train or draw from, once, whatever names it has there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_dry.device import SM
from prdit.config import Config, Model, PRDiT, PRDiTRefined, Sampler
from prdit.config.file import load_file
from prdit.experiments import scored, timed, trained
from prdit.generators.base import Generator, build

CONFIGS = Path(__file__).resolve().parents[2] / "config"
PAPER = "paper"
NAMES = (PAPER, "small-gpu", "miniature", "quickstart")
"""The paper's first, so that what another has too is named as there."""
LARGEST = 16
"""Volumes of 128^3 at a time in training, as rules/train.smk asks for."""
DRAWN = 8
"""Volumes at a time in sampling, as rules/sample.smk asks for."""
NOT_THE_NETWORK = {"per_dataset", "start_weights", "start_gain", "weights", "sha256", "perceptual"}


@dataclass(frozen=True)
class Case:
    """A network at a size.

    Args:
        start: what it starts from.
        base: the network of another kind that it builds on.
    """

    name: str
    entry: Model
    size: int
    start: Model | None
    base: Model | None

    @property
    def is_prdit(self) -> bool:
        return isinstance(self.entry, PRDiT | PRDiTRefined)

    @property
    def micro_batch(self) -> int:
        """Volumes at a time in training: 8 at 256^3, where 16 take half of an A100."""
        most = LARGEST if self.size < 256 or not self.is_prdit else LARGEST // 2
        return min(most, self.entry.training.batch)

    def build(self) -> Generator:
        """Its generator before training: of a second stage, with the first one frozen."""
        made = build(self.entry, self.size, self.base)
        if isinstance(self.entry, PRDiT) and self.start is not None:
            made.start_from(build(self.start, self.size))
        return made


def key(*parts: object) -> str:
    """What two networks that compile alike have in common."""
    return json.dumps(parts, sort_keys=True, default=str)


def network(entry: Model | None, without: set[str]) -> object:
    """What of an entry is its network, and how precisely it is trained.

    Blocks are alike: without `depth`, all that matters is whether there are any.
    """
    if entry is None:
        return None
    found = entry.model_dump(exclude=NOT_THE_NETWORK | without)
    training, start = found.pop("training"), found.pop("start_from")
    more = {"starts": start is not None, "deep": depth(entry) > 0}
    return {**found, **more, "precision": training["precision"]}


def depth(entry: Model) -> int:
    """Number of blocks."""
    return entry.depth if isinstance(entry, PRDiT) else 0


def order(config: Config, one: tuple[Any, ...]) -> tuple[object, ...]:
    """By data set and size, then the least deep model first."""
    dataset, size, model, *sampler = one
    return dataset, size, depth(config.models[model]), model, *sampler


def trainings() -> list[Case]:
    """All that is trained; of small configs, of networks that differ in depth, the least deep."""
    seen: dict[str, Case] = {}
    for config_name, config in configs():
        without = set() if config_name == PAPER else {"depth"}
        for dataset, size, name in sorted(trained(config), key=lambda one: order(config, one)):
            here = config.on(dataset)
            entry, base = here.models[name], here.base(name)
            start = here.models[entry.start_from] if entry.start_from else None
            case = Case(f"{config_name}/{dataset}/{size}/{name}", entry, size, start, base)
            alike = network(entry, without), network(base, without), size, case.micro_batch
            seen.setdefault(key(*alike), case)
    return list(seen.values())


def samplings() -> list[tuple[Case, Sampler]]:
    """All that draws samples, with its first sampler of a kind: with fresh noise, or without."""
    seen: dict[str, tuple[Case, Sampler]] = {}
    for config_name, config in configs():
        without = set() if config_name == PAPER else {"depth"}
        wanted = {one[:4] for one in (*scored(config), *timed(config))}
        for one in sorted(wanted, key=lambda one: order(config, one)):
            dataset, size, model, name = one
            here, sampler = config.on(dataset), config.samplers[name]
            entry, base = here.models[model], here.base(model)
            case = Case(f"{config_name}/{dataset}/{size}/{model}/{name}", entry, size, None, base)
            how = (sampler.kind == "own", sampler.k == 1, sampler.precision)
            alike = network(entry, without | {"train_base"}), network(base, without), size, how
            seen.setdefault(key(*alike), (case, sampler))
    return list(seen.values())


def configs() -> Iterator[tuple[str, Config]]:
    """Configs by name; for sm_80 all, else the paper's, whose networks are meant for it."""
    for name in NAMES if SM == 80 else (PAPER,):
        yield name, load_file(CONFIGS / f"{name}.yaml")
