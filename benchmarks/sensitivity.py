"""How weak a degradation of real volumes may be for FID, MMD and a critic to rank it rightly.

Phantoms of 16^3 voxels; of each kind of degradation, the smallest strength from which on the score
is above that of undegraded volumes and grows with the strength.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from prdit.config import Critic as Entry
from prdit.config import Training
from prdit.critic.pairs import Pairs
from prdit.critic.run import distances
from prdit.critic.wgan import Critic
from prdit.data.phantom.thorax import thorax
from prdit.data.store import FULL, Store
from prdit.data.volume import average_pool, to_window
from prdit.machine.processes import join
from prdit.machine.stop import Stop
from prdit.metrics.features import extract, randomise, resnet_3d
from prdit.metrics.frechet import frechet_distance
from prdit.metrics.mmd import mmd
from prdit.training.attempt import Conditions, to_its_end
from prdit.training.states import States

SIZE = 16
TRAINING = Training(volumes=1600, batch=16, learning_rate=1e-3, clip=1e9, ema=0.9)


def chests(count: int) -> np.ndarray:
    """HU [n, 16, 16, 16] of phantoms."""
    one = (thorax(5, i, (8.0,) * 3, (32, 32, 32)).hu for i in range(count))
    return np.stack([average_pool(hu.astype(np.float32), 2) for hu in one])


def blurred(hu: np.ndarray, voxels: float) -> np.ndarray:
    """By a Gaussian of so many voxels."""
    return np.stack([ndimage.gaussian_filter(x, voxels) for x in hu])


def noisy(hu: np.ndarray, sd: float) -> np.ndarray:
    """With normal noise of so many HU."""
    return hu + sd * np.random.default_rng(1).standard_normal(hu.shape)


def shuffled(hu: np.ndarray, share: float) -> np.ndarray:
    """With a share of the blocks of 4^3 voxels in one another's place."""
    n = SIZE // 4
    apart = hu.reshape(-1, n, 4, n, 4, n, 4).transpose(0, 1, 3, 5, 2, 4, 6)
    blocks = apart.reshape(-1, n**3, 4, 4, 4).copy()
    moved = np.random.default_rng(2).permutation(n**3)[: round(share * n**3)]
    blocks[:, moved] = blocks[:, np.roll(moved, 1)]
    back = blocks.reshape(-1, n, n, n, 4, 4, 4).transpose(0, 1, 4, 2, 5, 3, 6)
    return back.reshape(-1, SIZE, SIZE, SIZE)


DEGRADED = {
    "blur, voxels": (blurred, (0.2, 0.3, 0.4, 0.6, 0.8)),
    "noise, HU": (noisy, (5.0, 10.0, 20.0, 40.0, 80.0)),
    "shuffled blocks, share": (shuffled, (0.04, 0.08, 0.15, 0.3, 0.6)),
}


def store(hu: np.ndarray) -> Store:
    """Volumes, every fourth of them held out."""
    quantised = np.rint(to_window(hu, -1000, 400) * FULL).astype(np.int16)
    parts = ["held-out" if i % 4 == 0 else "train" for i in range(len(hu))]
    return Store(quantised, [], parts, (-1000.0, 400.0), False, 16.0, "", "")


def judged(real: np.ndarray, clean: np.ndarray, degraded: np.ndarray, folder: Path) -> list[float]:
    """Distances of both from real volumes, by a critic between them."""
    stores, group = [store(hu) for hu in (real, clean, degraded)], join(1)
    critic = Critic(Entry(width=8, training=TRAINING), SIZE)
    pairs = [Pairs(stores[0], stores[1:], p, group.device) for p in ("train", "held-out")]
    with Stop(0, None) as stop:
        how = Conditions(group, 16, stop, 1e9)
        states = States(folder, {}, lambda _: None)
        state = to_its_end(critic, TRAINING, *pairs, states, how, 1e9)
    critic.network.load_state_dict(state.average.state())
    found: list[float] = distances(critic, stores[0], stores[1:], group, 16)["distances"]
    return found


def smallest(strengths: tuple[float, ...], scores: list[float], floor: float) -> float | None:
    """The first strength from which on scores are above the floor and grow."""
    known = None
    for i in reversed(range(len(strengths))):
        if scores[i] <= floor or (i + 1 < len(scores) and scores[i] >= scores[i + 1]):
            return known
        known = strengths[i]
    return known


def main() -> None:
    parser = ArgumentParser(allow_abbrev=False, description=__doc__)
    parser.add_argument("--volumes", type=int, default=120)
    parser.add_argument("--without-critic", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    hu = chests(asked.volumes)
    real, clean = hu[::2], hu[1::2]
    network = resnet_3d("resnet10")
    randomise(network, 0)

    def features(x: np.ndarray) -> np.ndarray:
        return np.stack(list(extract(network, to_window(x, -1000, 400), 8)))

    truth = features(real)
    for name, metric in (("FID", frechet_distance), ("MMD", mmd)):
        floor = metric(truth, features(clean))
        for kind, (degrade, strengths) in DEGRADED.items():
            scores = [metric(truth, features(degrade(clean, s))) for s in strengths]
            told = ", ".join(f"{s:g}: {v:.4g}" for s, v in zip(strengths, scores, strict=True))
            least = smallest(strengths, scores, floor)
            print(f"{name}, {kind}: floor {floor:.4g}; {told}; from {least}")
    if asked.without_critic:
        return
    for kind, (degrade, strengths) in DEGRADED.items():
        found = []
        for s in strengths:
            with tempfile.TemporaryDirectory() as folder:
                mine, its = judged(real, clean, degrade(clean, s), Path(folder))
            found.append(its - mine)
        told = ", ".join(f"{s:g}: {v:.4g}" for s, v in zip(strengths, found, strict=True))
        print(f"critic, {kind}: {told}; from {smallest(strengths, found, 0.0)}")


if __name__ == "__main__":
    main()
