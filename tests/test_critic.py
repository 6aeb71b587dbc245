"""The W-score: a critic that learns to tell volumes apart, and goes on where it was stopped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import sensitivity
from prdit.config import Critic as Entry
from prdit.config import Shown, Training
from prdit.critic import run as critic_step
from prdit.critic.pairs import Pairs, drawn, in_whole_hu
from prdit.critic.wgan import Critic, network
from prdit.data.store import FULL, Store, open_store
from prdit.data.volume import Volume, to_window, write_nifti
from prdit.errors import Interrupted, UserError
from prdit.files import sha256, write_json
from prdit.recipes import CriticRecipe, TableRecipe
from prdit.report import critics
from prdit.report.pairwise import pairwise

SIZE = 16
TRAINING = Training(volumes=400, batch=8, learning_rate=1e-3, clip=1e9, ema=0.5)


@pytest.fixture(scope="module")
def chests() -> np.ndarray:
    """HU [40, 16, 16, 16] of phantoms."""
    return sensitivity.chests(40)


def write_store(path: Path, hu: np.ndarray) -> Path:
    """A store of real volumes, every fourth of them held out."""
    quantised = np.rint(to_window(hu, -1000, 400) * FULL).astype("<i2")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, quantised)
    about = {
        "series": [str(i) for i in range(len(hu))],
        "parts": ["held-out" if i % 4 == 0 else "train" for i in range(len(hu))],
        "window": [-1000.0, 400.0],
        "highs": [400.0] * len(hu),
        "spacing_mm": 16.0,
        "sha256": sha256(path),
        "cohort": "c",
    }
    write_json(path.with_suffix(".json"), about)
    return path


def write_samples(folder: Path, hu: np.ndarray, **about: object) -> Path:
    """Samples with their card."""
    files = {}
    for i, x in enumerate(hu):
        path = folder / f"key/{i:05d}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_nifti(path, Volume(np.rint(x).astype(np.int16), (16.0,) * 3))
        files[f"key/{path.name}"] = sha256(path)
    write_json(folder / "000.json", {"files": files, "window": [-1000.0, 400.0], **about})
    return folder / "000.json"


def recipe(**training: object) -> CriticRecipe:
    entry = Entry(width=8, held_out=0.25, training=TRAINING.model_copy(update=training))
    models = [("a", "k2"), ("b", "k2")]
    return CriticRecipe(dataset="d", size=SIZE, seed=0, models=models, critic=entry)


def judged(folder: Path, real: Path, first: Path, second: Path, **how: object) -> dict:
    told = {"code": "c", "batch": 4, "threads": 1} | how
    paths = {"real": real, "first": [first], "second": [second], "score": folder / "0.json"}
    critic_step.run(told.pop("recipe", recipe()), **paths, **told)  # type: ignore[arg-type]
    return json.loads((folder / "0.json").read_text())


DEGRADED = {
    "blur": (sensitivity.blurred, (0.7, 1.4)),
    "noise": (sensitivity.noisy, (80.0, 240.0)),
    "shuffled blocks": (sensitivity.shuffled, (0.15, 0.6)),
}


@pytest.mark.parametrize("kind", DEGRADED)
def test_a_critic_ranks_degraded_volumes_by_strength(
    kind: str, chests: np.ndarray, tmp_path: Path
) -> None:
    degrade, strengths = DEGRADED[kind]
    real = write_store(tmp_path / "real.npy", chests)
    cards = [
        write_samples(tmp_path / str(s), np.clip(degrade(chests, s), -1000, 400)) for s in strengths
    ]
    found = judged(tmp_path, real, *cards)
    weak, strong = found["distances"]
    assert 0 < weak < strong
    assert found["intervals"][0][0] <= weak <= found["intervals"][0][1]
    assert found["held_out"] == [10, 10, 10]


def test_a_critic_that_is_stopped_goes_on_to_the_same_numbers(
    chests: np.ndarray, tmp_path: Path
) -> None:
    short = recipe(volumes=80)
    real = write_store(tmp_path / "real.npy", chests)
    cards = [write_samples(tmp_path / s, chests + 100 * i) for i, s in enumerate("ab")]
    whole = judged(tmp_path / "whole", real, *cards, recipe=short)
    with pytest.raises(Interrupted):
        judged(tmp_path / "parts", real, *cards, recipe=short, time_limit=1e-6)
    assert not (tmp_path / "parts/0.json").exists()
    assert judged(tmp_path / "parts", real, *cards, recipe=short) == whole
    assert judged(tmp_path / "two", real, *cards, recipe=short, batch=8)[
        "distances"
    ] == pytest.approx(whole["distances"], rel=1e-3)


def test_every_real_volume_meets_every_generated_one_of_its_part() -> None:
    real = Store(
        *(np.arange(6 * 8, dtype=np.int16).reshape(6, 2, 2, 2), list("abcdef")),
        *(["train"] * 4 + ["held-out"] * 2, (-1000.0, 400.0), False, 1.0, "", ""),
    )
    both = [
        Store(-real.quantised - 100 * n, [], real.parts, (-1000.0, 400.0), False, 1.0, "", "")
        for n in (1, 2)
    ]
    pairs = Pairs(real, both, "train", torch.device("cpu"))
    assert len(pairs) == 4 * 8
    x = (pairs(torch.arange(len(pairs)))[:, :, 0, 0, 0] * FULL).round().int().tolist()
    generated = {-8 * i - 100 * n for i in range(4) for n in (1, 2)}
    assert {tuple(pair) for pair in x} == {(8 * i, g) for i in range(4) for g in generated}


def test_the_steps_of_values_do_not_tell_real_from_generated(
    chests: np.ndarray, tmp_path: Path
) -> None:
    real = open_store(write_store(tmp_path / "real.npy", chests[:8]))
    samples = drawn([write_samples(tmp_path, chests[:8])], real, 0.25).quantised
    steps = np.rint(to_window(np.arange(-1000, 401), -1000, 400) * FULL)
    assert not np.isin(real.quantised, steps).all()
    rounded = in_whole_hu(real)
    assert np.isin(rounded.quantised, steps).all()
    assert np.isin(samples, steps).all()
    assert np.abs(rounded.quantised.astype(int) - real.quantised).max() <= FULL / 1400 + 1
    assert rounded.fingerprint() == real.fingerprint()


def test_samples_of_another_window_are_refused(chests: np.ndarray, tmp_path: Path) -> None:
    real = write_store(tmp_path / "real.npy", chests)
    card = write_samples(tmp_path / "a", chests, window=[-1350.0, 150.0])
    with pytest.raises(UserError, match=r"has the HU window \[-1350.0, 150.0\], the real volumes"):
        judged(tmp_path, real, card, card)


def test_a_model_without_volumes_has_no_distance(chests: np.ndarray, tmp_path: Path) -> None:
    real = write_store(tmp_path / "real.npy", chests)
    card = write_samples(tmp_path / "a", chests)
    write_json(tmp_path / "oom.json", {"files": {}, "oom": "9 GiB"})
    found = judged(tmp_path, real, card, tmp_path / "oom.json")
    assert (found["oom"], found["distances"]) == (True, None)


def test_the_network_is_the_papers() -> None:
    """11,178,849 parameters at 128^3 with 32 channels: k4 s2 convolutions, affine norms."""
    with torch.device("meta"):
        assert sum(p.numel() for p in network(128, 32).parameters()) == 11_178_849
    assert network(16, 8)(torch.zeros(2, 1, 16, 16, 16)).shape == (2, 1, 1, 1, 1)


def test_the_penalty_is_that_of_the_slope() -> None:
    """A linear critic has the slope of its weights everywhere."""
    critic = Critic(Entry(width=8), SIZE)
    critic.network = torch.nn.Conv3d(1, 1, SIZE)
    x = torch.randn(3, 2, SIZE, SIZE, SIZE)
    found = critic.losses(x, torch.arange(3))
    slope = critic.network.weight.norm()
    assert found["penalty"].item() == pytest.approx((slope - 1).square().item(), rel=1e-4)
    distance = (critic.network(x[:, :1]) - critic.network(x[:, 1:])).mean()
    assert found["distance"].item() == pytest.approx(distance.item(), abs=1e-5)
    assert found["loss"].item() == pytest.approx(
        (10 * found["penalty"] - found["distance"]).item(), rel=1e-5
    )


@pytest.mark.parametrize(
    ("about", "size", "said"),
    [
        ({"cohort": "other"}, SIZE, "is of a model trained on another cohort"),
        ({}, 32, "holds volumes of edge 16, not 32"),
    ],
)
def test_a_critic_sees_what_belongs_together(
    about: dict[str, object], size: int, said: str, chests: np.ndarray, tmp_path: Path
) -> None:
    real = write_store(tmp_path / "real.npy", chests)
    card = write_samples(tmp_path / "a", chests, **about)
    other = recipe().model_copy(update={"size": size})
    with pytest.raises(UserError, match=said):
        judged(tmp_path, real, card, card, recipe=other)


# Tables of W-scores


def found(folder: Path, distances: dict[int, tuple[float, float]]) -> pd.DataFrame:
    """What critics between a and b found, by seed."""
    paths = []
    for seed, both in distances.items():
        about = {"dataset": "d", "size": 16, "seed": 0, "models": [["a", "k2"], ["b", "k2"]]}
        told = {"critic": seed, "distances": both, "intervals": [[both[0] - 1, 9], [0.1, 9]]}
        write_json(folder / f"{seed}.json", about | told)
        paths.append(folder / f"{seed}.json")
    critics.run(critics=paths, table=folder / "critics.csv")
    return pd.read_csv(folder / "critics.csv")


A, B = Shown("A", "a", "k2", 16), Shown("B", "b", "k2", 16)
TABLE = TableRecipe(
    table="table_11",
    datasets={"d": {"label": "D", "published": "lidc", "papers": False}},
    rows=[A, B],
    seeds=[0],
    anchor=B,
    critics=[0, 1, 2],
)


def test_w_scores_are_ratios_to_the_anchor(tmp_path: Path) -> None:
    frame = found(tmp_path, {0: (4.0, 2.0), 1: (6.0, 2.0), 2: (1.0, -0.1), 9: (1.0, 1.0)})
    cells = critics.w_score(frame, TABLE, "d", A, B, oom=False)
    assert cells["W-score"] == pytest.approx(2.5)  # of 2 and 3; one critic had nothing to tell
    assert cells["W-score std"] == pytest.approx(np.std([2, 3], ddof=1))
    assert cells["critics without a ratio"] == 1
    assert cells["critics not told from 0"] == 1  # the third: 1.0, from 0.0 on
    assert critics.w_score(frame, TABLE, "d", B, B, oom=False)["W-score"] == 1


def test_table_11_is_antisymmetric_and_signed_as_the_papers(tmp_path: Path) -> None:
    frame = found(tmp_path, {0: (4.0, 2.0), 1: (8.0, 2.0), 2: (4.0, 4.0)})
    rows = pairwise(TABLE, frame, {"order": ["A", "B"], "rows": {"A": [[0, 0], [-1, 0.1]]}})
    assert rows[0]["A"] == rows[1]["B"] == 0
    assert rows[0]["B"] == pytest.approx(-np.log(2))  # a is farther from real volumes: worse
    assert rows[1]["A"] == pytest.approx(np.log(2))
    assert (rows[0]["paper B"], rows[0]["paper B std"]) == (-1, 0.1)


def test_nothing_but_useless_critics_is_a_dash(tmp_path: Path) -> None:
    frame = found(tmp_path, {0: (4.0, -2.0), 1: (-6.0, 2.0), 2: (-1.0, -0.1)})
    cells = critics.w_score(frame, TABLE, "d", A, B, oom=False)
    assert np.isnan(cells["W-score"])
    assert cells["critics without a ratio"] == 3


def test_drawn_samples_keep_some_back(chests: np.ndarray, tmp_path: Path) -> None:
    real = Store((chests * 0).astype(np.int16), [], [], (-1000.0, 400.0), False, 16.0, "", "c")
    store = drawn([write_samples(tmp_path, chests[:8])], real, 0.25)
    assert store.parts == ["train"] * 6 + ["held-out"] * 2
    np.testing.assert_allclose(
        store.volume(3), to_window(np.rint(chests[3]), -1000, 400), atol=1e-4
    )
