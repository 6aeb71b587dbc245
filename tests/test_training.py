"""The loop: data in order, rates, averages, and a tiny model that learns."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stepping import history, lasting, trained
from torch import nn

from prdit.config import Training
from prdit.errors import UserError
from prdit.generators import weights
from prdit.training.ema import Average
from prdit.training.loop import order, rate


@given(n=st.integers(1, 40), seed=st.integers(0, 1000), epoch=st.integers(0, 5))
def test_every_volume_is_seen_once_per_epoch(n: int, seed: int, epoch: int) -> None:
    index = torch.arange(epoch * n, (epoch + 1) * n)
    assert sorted(order(index, n, seed).tolist()) == list(range(n))


def test_the_order_does_not_depend_on_the_batch() -> None:
    whole = order(torch.arange(100), 7, 0)
    parts = [order(part, 7, 0) for part in torch.arange(100).split(9)]
    assert torch.equal(whole, torch.cat(parts))


def test_learning_rates() -> None:
    constant = Training(volumes=1, warmup_steps=4)
    assert [rate(s, 100, constant) for s in (0, 1, 3, 4, 99)] == [0.25, 0.5, 1, 1, 1]
    cosine = Training(volumes=1, decay="cosine")
    assert [rate(s, 100, cosine) for s in (0, 50, 100)] == pytest.approx([1, 0.5, 0])


def test_the_average_follows_its_definition_and_skips_what_is_frozen() -> None:
    network = nn.Linear(2, 1)
    network.bias.requires_grad_(False)
    nn.init.constant_(network.weight, 0.0)
    average = Average(network, 0.75)
    for value in (1.0, 2.0):
        nn.init.constant_(network.weight, value)
        average.update()
    nn.init.constant_(network.bias, 7.0)
    assert average.state()["weight"].tolist() == [[0.6875, 0.6875]]
    assert average.state()["bias"].tolist() == [7.0]


def test_training_learns_and_is_reproducible(tmp_path: Path) -> None:
    first, second = (trained(tmp_path / name) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    losses = [line["loss"] for line in history(tmp_path / "a")]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_a_training_leaves_weights_and_a_record(tmp_path: Path) -> None:
    path = trained(tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["status"] == "ok"
    assert record["training_volumes"] == 2
    generator, about = weights.load(path)
    window = {"window": [-1000.0, 400.0], "nominal_hu": False, "cohort": "c0"}
    assert about == {"size": 8, "spacing_mm": 32.0, **window}
    assert sum(p.numel() for p in generator.network.parameters()) == record["parameters"]


def test_what_is_no_weights_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="is no weights file of prdit"):
        weights.load(path)


def test_a_training_that_diverges_stops_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"diverged: 20 steps in a row up to .*; lower"):
        trained(tmp_path, lasting(400, learning_rate=1e30))
    assert not (tmp_path / "weights.safetensors").exists()
