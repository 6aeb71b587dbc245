"""Every network that the shipped configs train or draw from, once, whatever names it has there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from prdit.config import Model, PRDiT, PRDiTRefined, Sampler
from prdit.config.file import load_file
from prdit.experiments import scored, timed, trained
from prdit.generators.base import Generator, build

CONFIGS = Path(__file__).resolve().parents[2] / "config"
NAMES = ("paper", "small-gpu", "miniature", "quickstart")
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
    """What of an entry is its network, and how precisely it is trained."""
    if entry is None:
        return None
    found = entry.model_dump(exclude=NOT_THE_NETWORK | without)
    training, start = found.pop("training"), found.pop("start_from")
    return {**found, "starts": start is not None, "precision": training["precision"]}


def trainings() -> list[Case]:
    """All that is trained."""
    seen: dict[str, Case] = {}
    for config_name in NAMES:
        config = load_file(CONFIGS / f"{config_name}.yaml")
        for dataset, size, name in trained(config):
            here = config.on(dataset)
            entry, base = here.models[name], here.base(name)
            start = here.models[entry.start_from] if entry.start_from else None
            case = Case(f"{config_name}/{dataset}/{size}/{name}", entry, size, start, base)
            of_it, of_base = network(entry, set()), network(base, set())
            seen.setdefault(key(of_it, of_base, size, case.micro_batch), case)
    return list(seen.values())


def samplings() -> list[tuple[Case, Sampler]]:
    """All that draws samples, with its first sampler of a kind: with fresh noise, or without."""
    seen: dict[str, tuple[Case, Sampler]] = {}
    for config_name in NAMES:
        config = load_file(CONFIGS / f"{config_name}.yaml")
        for one in sorted({o[:4] for o in (*scored(config), *timed(config))}):
            dataset, size, model, name = one
            here, sampler = config.on(dataset), config.samplers[name]
            entry, base = here.models[model], here.base(model)
            case = Case(f"{config_name}/{dataset}/{size}/{model}/{name}", entry, size, None, base)
            how = (sampler.kind == "own", sampler.k == 1, sampler.precision)
            drawn = network(entry, {"train_base"}), network(base, set()), size, how
            seen.setdefault(key(*drawn), (case, sampler))
    return list(seen.values())
