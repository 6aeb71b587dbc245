"""Figures beyond those that show samples: cavities of air, and what branches add up from."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from stepping import store, trained

from prdit.config import PRDiT, Sampler, Training
from prdit.data.store import open_store
from prdit.errors import UserError
from prdit.generators import branches as drawn
from prdit.recipes import BranchesRecipe
from prdit.report import branches
from prdit.report.cavities import cavities


def torso(size: int = 32) -> np.ndarray:
    """Tissue with lungs at -850 HU in air."""
    hu = np.full((size,) * 3, -1000.0)
    hu[:, 4:28, 4:28] = 40
    hu[12:28, 8:24, 8:14] = -850
    return hu


def test_air_inside_the_body_is_boxed_and_nothing_else() -> None:
    assert cavities(torso(), 8.0)[1] == []
    hu = torso()
    hu[4:8, 10:16, 18:22] = -1000
    place, boxes = cavities(hu, 8.0)
    assert 18 <= place < 22
    assert boxes == [(slice(4, 8), slice(10, 16))]
    assert cavities(hu, 1.0)[1] == []  # 24 mm^2 are not worth a box


STAGE_2 = PRDiT(
    depth=1,
    width=24,
    heads=2,
    patch=4,
    stride=2,
    start_from="local",
    training=Training(volumes=8, batch=4),
)
RECIPE = BranchesRecipe(dataset="D", model="M", sampler=Sampler(steps=3))


def test_branches_are_drawn_and_add_up(tmp_path: Path) -> None:
    first = trained(tmp_path / "first")
    weights = trained(tmp_path / "second", STAGE_2, start_from=first)
    drawn.run(RECIPE, weights=weights, volumes=tmp_path / "b.npz", threads=1)
    with np.load(tmp_path / "b.npz") as file:
        assert file["local"].shape == file["residual"].shape == (drawn.COUNT, 8, 8, 8)
        assert np.abs(file["local"]).max() > 0
        assert file["window"].tolist() == list(open_store(store(tmp_path)).window)
    branches.run(RECIPE, volumes=tmp_path / "b.npz", figure=tmp_path / "f.png")
    assert matplotlib.image.imread(tmp_path / "f.png").std() > 0.05


def test_a_model_without_both_branches_is_refused(tmp_path: Path) -> None:
    weights = trained(tmp_path / "first")
    (tmp_path / "b.npz").write_bytes(b"no archive")
    with pytest.raises(UserError, match="cannot use"):
        branches.run(RECIPE, volumes=tmp_path / "b.npz", figure=tmp_path / "f.png")
    with pytest.raises(UserError, match="has not both branches"):
        drawn.run(RECIPE, weights=weights, volumes=tmp_path / "b.npz", threads=1)
