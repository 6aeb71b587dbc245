"""Distances between sets of features: known answers, floors, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, ndimage

from prdit.data.phantom.thorax import thorax
from prdit.data.volume import average_pool, to_window
from prdit.errors import UserError
from prdit.metrics.diversity import coverage, density
from prdit.metrics.feature_sets import FeatureSet, read, write
from prdit.metrics.fingerprint import fingerprint
from prdit.metrics.frechet import frechet_distance
from prdit.metrics.interval import bootstrap
from prdit.metrics.memorization import copies
from prdit.metrics.mmd import (
    kid,
    kid_interval,
    lower_median,
    mmd,
    mmd_unbiased,
    squared_distances,
)
from prdit.metrics.score import ALL, floor_sets
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


@given(n=st.integers(8, 300), reference=st.integers(2, 200), volumes=st.integers(2, 200))
def test_floor_sets_are_disjoint_and_of_the_sizes_asked_for(
    n: int, reference: int, volumes: int
) -> None:
    numbers = np.arange(n)[:, None]
    reals = FeatureSet(numbers, numbers, [str(i) for i in range(n)], ["train"] * n, numbers, {})
    first, second = floor_sets(reals, reference, volumes)
    assert not set(first.names) & set(second.names)
    assert min(len(first.names), len(second.names)) >= min(4, reference, volumes)
    if n >= reference + volumes:
        assert (len(first.names), len(second.names)) == (reference, volumes)
    else:
        assert len(first.names) + len(second.names) <= n


def write_features(path: Path, seed: int, second: int = 0, **card: object) -> Path:
    about = {"network": "n", "network_sha256": None, "window": [-1000, 400], "cohort": "c"}
    about |= {"size": 16, **card}
    features = draw(20, 4, seed).astype(np.float32)
    prints = np.random.default_rng(seed).random((20, 7, 7, 4), np.float32)
    names = [str(i) for i in range(20)]
    write(path, FeatureSet(features, prints, names, PARTS, draw(20, second, seed + 9), about))
    return path


PARTS = ["held-out" if i % 4 == 0 else "train" for i in range(20)]


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
    assert set(found["metrics"]) == set(ALL)
    assert set(found["intervals"]) == {"fid", "mmd", "kid", "fid_train", "fid_held_out"}
    for metric, (low, high) in found["intervals"].items():
        assert low <= found["metrics"][metric] <= high
    assert len(found["closest"]) == 8
    distances = [pair["distance"] for pair in found["closest"]]
    assert distances == sorted(distances)


def test_the_floor_has_every_metric_too(tmp_path: Path) -> None:
    real = write_features(tmp_path / "real.npz", 0)
    recipe = RECIPE.model_copy(update={"reference": 10, "volumes": 5})
    score(recipe, real=real, generated=None, score=tmp_path / "score.json")
    found = json.loads((tmp_path / "score.json").read_text())
    assert set(found["metrics"]) == set(ALL)
    assert all(np.isfinite(value) for value in found["metrics"].values())
    assert (found["card"]["reference"], found["card"]["volumes"]) == (10, 5)


def test_as_many_real_volumes_as_are_asked_for_make_a_floor(tmp_path: Path) -> None:
    real = write_features(tmp_path / "real.npz", 0)
    write(real, read(real).rows(np.arange(8)))
    score(RECIPE, real=real, generated=None, score=tmp_path / "score.json")
    found = json.loads((tmp_path / "score.json").read_text())
    assert (found["card"]["reference"], found["card"]["volumes"]) == (4, 4)
    write(real, read(real).rows(np.arange(7)))
    with pytest.raises(UserError, match="7 real volumes cannot be split in two sets of 4 at least"):
        score(RECIPE, real=real, generated=None, score=tmp_path / "score.json")


def test_a_second_network_has_columns_of_its_own(tmp_path: Path) -> None:
    real, generated = (
        write_features(tmp_path / f"{i}.npz", i, second=3, beside_network="x") for i in (0, 1)
    )
    score(RECIPE, real=real, generated=generated, score=tmp_path / "score.json")
    found = json.loads((tmp_path / "score.json").read_text())["metrics"]
    assert found["fid_beside"] == pytest.approx(
        frechet_distance(*(np.load(p)["beside"] for p in (real, generated)))
    )
    assert found["mmd_beside"] != found["mmd"]
    other = write_features(tmp_path / "other.npz", 1, second=3, beside_network="y")
    with pytest.raises(UserError, match="its beside_network is y, that of the real features x"):
        score(RECIPE, real=real, generated=other, score=tmp_path / "no.json")


def test_features_of_another_length_are_refused(tmp_path: Path) -> None:
    real = write_features(tmp_path / "real.npz", 0)
    generated = write_features(tmp_path / "fake.npz", 1)
    shorter = read(generated)
    write(generated, dataclasses.replace(shorter, features=shorter.features[:, :3]))
    with pytest.raises(UserError, match=r"fake.npz has features of another length"):
        score(RECIPE, real=real, generated=generated, score=tmp_path / "score.json")


@pytest.mark.parametrize(("reals", "samples"), [(20, 1), (20, 3), (1, 20), (3, 20)])
def test_a_few_volumes_are_no_distribution(reals: int, samples: int, tmp_path: Path) -> None:
    real = write_features(tmp_path / "real.npz", 0)
    generated = write_features(tmp_path / "fake.npz", 1)
    for path, count in ((real, reals), (generated, samples)):
        write(path, read(path).rows(np.arange(count)))
    with pytest.raises(UserError, match=r"at least 4 of each are needed"):
        score(RECIPE, real=real, generated=generated, score=tmp_path / "score.json")


@pytest.mark.parametrize("count", [4, 5, 6])
def test_four_volumes_are_enough(count: int, tmp_path: Path) -> None:
    real = write_features(tmp_path / "real.npz", 0)
    generated = write_features(tmp_path / "fake.npz", 1)
    write(generated, read(generated).rows(np.arange(count)))
    recipe = RECIPE.model_copy(update={"reference": count})
    score(recipe, real=real, generated=generated, score=tmp_path / "score.json")
    found = json.loads((tmp_path / "score.json").read_text())
    assert all(np.isfinite(value) for value in found["metrics"].values())


def test_one_held_out_volume_leaves_a_gap(tmp_path: Path) -> None:
    real = write_features(tmp_path / "real.npz", 0)
    one = dataclasses.replace(read(real), parts=["held-out", *["train"] * 19])
    write(real, one)
    score(
        RECIPE,
        real=real,
        generated=write_features(tmp_path / "fake.npz", 1),
        score=tmp_path / "score.json",
    )
    found = json.loads((tmp_path / "score.json").read_text())["metrics"]
    assert found["fid_train"] is found["fid_held_out"] is None
    assert found["copies_by_chance"] == 500


def test_features_that_are_all_alike_are_told(tmp_path: Path) -> None:
    real = write_features(tmp_path / "real.npz", 0)
    write(real, dataclasses.replace(read(real), features=np.ones((20, 4), np.float32)))
    generated = write_features(tmp_path / "fake.npz", 1)
    with pytest.raises(UserError, match=r"half of the pairs of 20 real features are equal"):
        score(RECIPE, real=real, generated=generated, score=tmp_path / "score.json")


def nothing_finite(found: FeatureSet) -> FeatureSet:
    return dataclasses.replace(found, features=np.full((20, 4), np.nan, np.float32))


def too_short(found: FeatureSet) -> FeatureSet:
    return dataclasses.replace(found, features=found.features[:5])


def no_card(found: FeatureSet) -> FeatureSet:
    return dataclasses.replace(found, card=[])


def flat(found: FeatureSet) -> FeatureSet:
    return dataclasses.replace(found, features=found.features[:, 0])


@pytest.mark.parametrize("spoil", [nothing_finite, too_short, no_card, flat])
def test_features_that_do_not_fit_together_are_refused(spoil, tmp_path: Path) -> None:
    path = write_features(tmp_path / "real.npz", 0)
    write(path, spoil(read(path)))
    with pytest.raises(UserError, match=r"real.npz: its parts do not fit together, or are not fin"):
        read(path)


def test_parts_of_a_set_are_disjoint_and_spread() -> None:
    x = np.arange(47)[:, None]
    reals = FeatureSet(x, x, [str(i) for i in range(47)], [], x, {})
    for size, count in ((5, 5), (10, 4), (30, 1), (47, 1)):
        sets = [one.names for one in reals.parted(size)]
        assert [len(one) for one in sets] == [size] * count
        assert len({name for one in sets for name in one}) == size * count
        assert max(int(one[-1]) for one in sets) >= 47 * (size - 1) // size


# Beside the paper's metrics


def test_unbiased_estimates_are_zero_on_average_where_biased_ones_are_not() -> None:
    pairs = [(draw(40, 6, 2 * i), draw(40, 6, 2 * i + 1)) for i in range(60)]
    for metric in (mmd_unbiased, kid):
        found = [metric(x, y) for x, y in pairs]
        assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))
    assert min(mmd(x, y) for x, y in pairs) > 0.05


def test_kid_by_its_definition() -> None:
    x, y = draw(7, 3), draw(5, 3, 1)

    def kernel(u: np.ndarray, v: np.ndarray) -> float:
        return float((u @ v / 3 + 1) ** 3)

    within = [
        np.mean([kernel(u, v) for i, u in enumerate(z) for j, v in enumerate(z) if i != j])
        for z in (x, y)
    ]
    across = np.mean([kernel(u, v) for u in x for v in y])
    assert kid(x, y) == pytest.approx(sum(within) - 2 * across)


def test_density_and_coverage_of_known_sets() -> None:
    x = draw(200, 4)
    assert density(x, draw(200, 4, 1)) == pytest.approx(1, abs=0.2)
    assert coverage(x, draw(200, 4, 1)) > 0.9
    assert density(x, x + 100) == coverage(x, x + 100) == 0
    one_place = np.repeat(x[:1], 200, axis=0)
    assert coverage(x, one_place) < 0.1  # fidelity without diversity
    assert density(x, one_place) > 0.5


@pytest.mark.parametrize("metric", [frechet_distance, mmd])
def test_an_interval_holds_the_score_of_other_draws(metric) -> None:
    """Of 20 fresh draws of both, most score within an interval from one, but for its placing."""
    x, y = draw(150, 5), draw(150, 5, 1) + 0.5
    low, high = bootstrap(metric, x, y)
    assert low < metric(x, y) < high
    fresh = [metric(draw(150, 5, 10 + i), draw(150, 5, 50 + i) + 0.5) for i in range(20)]
    assert 0.4 < (high - low) / (3.92 * np.std(fresh)) < 2.5
    assert bootstrap(metric, x, y) == (low, high)


def test_the_interval_of_kid_shrinks_with_the_sets() -> None:
    widths = []
    for n in (60, 600):
        low, high = kid_interval(draw(n, 5), draw(n, 5, 1) + 0.3)
        widths.append(high - low)
    assert widths[1] < 0.6 * widths[0]


# Copies of training volumes


@pytest.fixture(scope="module")
def chests() -> list[np.ndarray]:
    """HU of 100 phantoms at 8 mm."""
    return [thorax(9, i, (8.0,) * 3, (32, 32, 32)).hu for i in range(100)]


def prints(volumes: list[np.ndarray], size: int) -> np.ndarray:
    pooled = (average_pool(to_window(hu, -1000, 400), 32 // size) for hu in volumes)
    return np.stack([fingerprint(x) for x in pooled])


def shifted(hu: np.ndarray) -> np.ndarray:
    """By 5 mm along every axis."""
    return ndimage.shift(hu.astype(np.float32), [5 / 8] * 3, order=1, mode="nearest")


PLANTED = {
    "exact": lambda hu: hu,
    "flipped left to right": lambda hu: hu[:, :, ::-1],
    "flipped front to back": lambda hu: hu[:, ::-1],
    "flipped upside down": lambda hu: hu[::-1],
    "turned by 180 degrees": lambda hu: hu[:, ::-1, ::-1],
    "shifted by 5 mm": shifted,
    "with noise of 100 HU": lambda hu: hu + np.random.default_rng(0).normal(0, 100, hu.shape),
    "flipped, shifted and noisy": lambda hu: (
        shifted(hu[:, :, ::-1]) + np.random.default_rng(0).normal(0, 50, hu.shape)
    ),
}


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("how", PLANTED)
def test_planted_copies_are_found(how: str, size: int, chests: list[np.ndarray]) -> None:
    """95 % of them at least, where 5 % of unseen real volumes pass for copies."""
    train, held_out = prints(chests[:40], size), prints(chests[40:], size)
    planted = prints([PLANTED[how](hu) for hu in chests[:40]], size)
    search = copies(train, held_out, planted)
    assert search.share >= 0.95
    assert (search.nearest == np.arange(40)).mean() >= 0.95
    assert copies(train, held_out, held_out).share == 0.05  # 3 of 60


@pytest.mark.parametrize("unseen", [1, 2, 9, 19, 60])
def test_as_many_pass_for_copies_by_chance_as_is_told(unseen: int) -> None:
    """Of volumes like the held-out ones, whatever these are and however few."""
    rng = np.random.default_rng(unseen)
    found, told = [], 0.0
    for _ in range(300):
        train, held_out, others = (rng.random((n, 7, 7, 4)) for n in (12, unseen, 20))
        search = copies(train, held_out, others)
        found.append(search.share)
        told = search.by_chance
    assert np.mean(found) == pytest.approx(told, abs=4 * np.std(found) / np.sqrt(len(found)))


def test_how_the_nearest_is_flipped_is_told(chests: list[np.ndarray]) -> None:
    train, held_out = prints(chests[:20], 16), prints(chests[40:], 16)
    for way, flip in enumerate((lambda x: x, *(partial(np.flip, axis=a) for a in range(3)))):
        search = copies(train, held_out, prints([flip(hu) for hu in chests[:20]], 16))
        assert (search.way == way).all()


def test_too_few_volumes_to_search_among_are_told() -> None:
    x = np.ones((3, 7, 7, 4))
    with pytest.raises(UserError, match="3 training and 0 held-out volumes are too few"):
        copies(x, x[:0], x)


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
