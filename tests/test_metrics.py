"""Distances between sets of features: known answers, floors, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from prdit.errors import UserError
from prdit.metrics.frechet import frechet_distance
from prdit.metrics.mmd import lower_median, mmd, squared_distances
from prdit.metrics.score import floor_sets
from prdit.metrics.score import run as score
from prdit.recipes import ScoreRecipe


def draw(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def textbook_fid(x: np.ndarray, y: np.ndarray) -> float:
    s_x, s_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = linalg.sqrtm(s_x @ s_y).real
    means = x.mean(0) - y.mean(0)
    return float(means @ means + np.trace(s_x + s_y - 2 * root))


@given(n=st.integers(12, 40), m=st.integers(12, 40), d=st.integers(2, 8), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_fid_is_the_textbooks(n: int, m: int, d: int, seed: int) -> None:
    x, y = draw(n, d, seed), 2 + 1.5 * draw(m, d, seed + 1)
    assert frechet_distance(x, y) == pytest.approx(textbook_fid(x, y), rel=1e-6)


def test_fid_of_a_shift_and_of_a_scale() -> None:
    x = draw(50, 7)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + 3) == pytest.approx(7 * 9, rel=1e-9)
    variance = np.trace(np.cov(x, rowvar=False))
    assert frechet_distance(x, 3 * (x - x.mean(0)) + x.mean(0)) == pytest.approx(4 * variance)


def test_fid_with_fewer_volumes_than_features() -> None:
    x, y = draw(10, 64), draw(10, 64, 1)
    both = np.concatenate([x, y]) - x.mean(0)
    basis = np.linalg.svd(both, full_matrices=False)[2]  # the span of all, where nothing is lost
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(x @ basis.T, y @ basis.T))


def test_mmd_by_its_definition() -> None:
    x, y = draw(9, 4), draw(6, 4, 1) + 0.5

    def distance(u: np.ndarray, v: np.ndarray) -> float:
        return float(((u - v) ** 2).sum())

    ranked = sorted(distance(u, v) for u in x for v in x)
    gamma = 1 / (2 * ranked[(len(ranked) - 1) // 2])

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean([np.exp(-gamma * distance(u, v)) for u in a for v in b]))

    assert mmd(x, y) ** 2 == pytest.approx(mean(x, x) + mean(y, y) - 2 * mean(x, y), rel=1e-9)
    assert mmd(x, x) == 0


def test_distances_survive_a_large_offset() -> None:
    x, y = draw(5, 3), draw(4, 3, 1)
    assert np.allclose(squared_distances(x + 1e6, y + 1e6), squared_distances(x, y), atol=1e-6)


def test_the_lower_median() -> None:
    assert lower_median(np.array([4.0, 1, 3, 2])) == 2
    assert lower_median(np.array([4.0, 1, 3])) == 3


@given(n=st.integers(4, 300), reference=st.integers(2, 200), volumes=st.integers(2, 200))
def test_floor_sets_are_disjoint_and_of_the_sizes_asked_for(
    n: int, reference: int, volumes: int
) -> None:
    first, second = floor_sets(np.arange(n)[:, None], reference, volumes)
    assert not set(first.ravel()) & set(second.ravel())
    assert min(len(first), len(second)) >= 2
    if n >= reference + volumes:
        assert (len(first), len(second)) == (reference, volumes)
    else:
        assert len(first) + len(second) <= n


def write_features(path: Path, seed: int, **card: object) -> Path:
    about = {"network": "n", "network_sha256": None, "window": [-1000, 400], "cohort": "c", **card}
    features = draw(20, 4, seed).astype(np.float32)
    np.savez(path, features=features, names=[str(i) for i in range(20)], card=json.dumps(about))
    return path


RECIPE = ScoreRecipe(
    dataset="d", size=16, model="m", sampler="k2", seed=0, reference=20, volumes=20
)


def test_a_score_carries_its_card(tmp_path: Path) -> None:
    real, generated = (write_features(tmp_path / f"{i}.npz", i) for i in (0, 1))
    score(RECIPE, real=real, generated=generated, score=tmp_path / "score.json")
    found = json.loads((tmp_path / "score.json").read_text())
    assert found["metrics"]["fid"] == pytest.approx(
        frechet_distance(*(np.load(p)["features"] for p in (real, generated)))
    )
    assert found["card"]["volumes"] == found["card"]["reference"] == 20


def test_volumes_drawn_elsewhere_know_no_cohort_and_are_scored(tmp_path: Path) -> None:
    real = write_features(tmp_path / "real.npz", 0)
    generated = write_features(tmp_path / "fake.npz", 1, cohort=None)
    score(RECIPE, real=real, generated=generated, score=tmp_path / "score.json")
    assert json.loads((tmp_path / "score.json").read_text())["card"]["cohort"] == "c"


@pytest.mark.parametrize(
    "difference", [{"window": [-1350, 150]}, {"network": "other"}, {"cohort": "d"}]
)
def test_features_made_differently_are_not_compared(
    difference: dict[str, object], tmp_path: Path
) -> None:
    real = write_features(tmp_path / "real.npz", 0)
    generated = write_features(tmp_path / "fake.npz", 1, **difference)
    with pytest.raises(UserError, match=r"fake.npz cannot be scored: its \w+ is"):
        score(RECIPE, real=real, generated=generated, score=tmp_path / "score.json")
    assert not (tmp_path / "score.json").exists()


def test_unreadable_features_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(UserError, match=r"^cannot use .*bad.npz: .*; delete it and run the same"):
        score(RECIPE, real=tmp_path / "bad.npz", generated=None, score=tmp_path / "score.json")
