"""Every network of the shipped configs: a training step and a sampling step on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gpu_dry import steps
from gpu_dry.cases import CONFIGS, DRAWN, Case, samplings, trainings
from prdit.config import VQGAN, Sampler
from prdit.config.file import load_file
from prdit.critic.wgan import Critic
from prdit.generators.ha_gan import HAGAN
from prdit.metrics.features import pooled, resnet_3d

pytestmark = pytest.mark.usefixtures("gpu")
Bound = Callable[[str, Any], None]
TRAININGS = [pytest.param(case, id=case.name) for case in trainings()]
SAMPLINGS = [pytest.param(case, sampler, id=case.name) for case, sampler in samplings()]


def first_slices(x: Tensor, start: Tensor, count: int) -> Tensor:
    """In place of `HAGAN.cut`, whose slices are where the values of a tensor say."""
    return torch.stack([one[:, :count] for one in x.unbind(0) if len(start)])


@pytest.mark.parametrize("case", TRAININGS)
def test_training(case: Case, bound: Bound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HAGAN, "cut", staticmethod(first_slices))
    if isinstance(case.entry, VQGAN):  # weights of others, which are no part of this
        monkeypatch.setitem(case.entry.__dict__, "perceptual", None)
    step = steps.training(case.build(), case.entry.training, case.size, case.micro_batch)
    if case.is_prdit:
        assert step.compiled
        assert not step.faults
    bound(f"training/{case.name}", step)


@pytest.mark.parametrize(("case", "sampler"), SAMPLINGS)
def test_sampling(case: Case, sampler: Sampler, bound: Bound) -> None:
    if case.is_prdit:
        step = steps.sampling(case.build(), sampler, DRAWN)
        assert step.compiled
        assert not step.faults
    else:  # a few steps tell what all do
        few = sampler.model_copy(update={"steps": min(sampler.steps, 2)})
        step = steps.drawn(case.build(), few, DRAWN)
    bound(f"sampling/{case.name}", step)


@pytest.mark.parametrize("name", ["paper", "miniature"])
def test_critic(name: str, bound: Bound) -> None:
    config = load_file(CONFIGS / f"{name}.yaml")
    entry, size = config.evaluation.critic, config.tables.table_11.size
    step = steps.training(Critic(entry, size), entry.training, size, 8, channels=2)
    bound(f"critic/{name}", step)


@pytest.mark.parametrize(("name", "size"), [("resnet50", 256), ("resnet50", 128), ("resnet10", 64)])
def test_features(name: str, size: int, bound: Bound) -> None:
    x, _ = steps.volumes(8, 1, size)
    step, features = steps.passed(resnet_3d(name), lambda network: pooled(network, x), len(x))
    assert features.shape == (8, 2048 if name == "resnet50" else 512)
    bound(f"features/{name}/{size}", step)
