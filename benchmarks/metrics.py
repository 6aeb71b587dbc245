"""How fast FID and MMD are, and in how much memory, beside the usual way; one process each."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
from scipy import linalg
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from prdit.files import write_json
from prdit.machine.memory import peak_gib
from prdit.metrics.frechet import frechet_distance
from prdit.metrics.interval import bootstrap
from prdit.metrics.mmd import mmd


def features(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets whose spectrum falls as that of real features does."""
    rng = np.random.default_rng(0)
    scale = np.arange(1, d + 1) ** -0.75
    return tuple((rng.standard_normal((n, d)) * scale).astype(np.float32) for _ in range(2))


def plain_fid(x: np.ndarray, y: np.ndarray) -> float:
    """Covariances and scipy's square root of their product, as most code has it."""
    s_x, s_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = linalg.sqrtm(s_x @ s_y + 1e-6 * np.eye(len(s_x)))
    means = x.mean(0) - y.mean(0)
    return float(means @ means + np.trace(s_x + s_y - 2 * np.real(root)))


def plain_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """Pairwise distances by scipy."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    xx, yy, xy = (cdist(a, b, "sqeuclidean") for a, b in ((x, x), (y, y), (x, y)))
    gamma = 1 / (2 * np.median(xx))
    k = [np.exp(-gamma * d).mean() for d in (xx, yy, xy)]
    return float(np.sqrt(max(k[0] + k[1] - 2 * k[2], 0)))


def with_interval(x: np.ndarray, y: np.ndarray) -> float:
    """FID with its bootstrap interval."""
    return bootstrap(frechet_distance, x, y)[0]


WAYS = {
    "FID": frechet_distance,
    "FID by sqrtm": plain_fid,
    "MMD": mmd,
    "MMD by cdist": plain_mmd,
    "FID with interval": with_interval,
}


def measured(name: str, n: int, d: int, threads: int, repeats: int) -> dict[str, float]:
    """Median seconds, value and peak memory of one way, in a process of its own."""
    import torch

    way: Callable[[np.ndarray, np.ndarray], float] = WAYS[name]
    x, y = features(n, d)
    times = []
    with threadpool_limits(threads):
        for _ in range(1 if name == "FID with interval" else repeats):
            started = time.perf_counter()
            value = way(x, y)
            times.append(time.perf_counter() - started)
    peak = peak_gib(torch.device("cpu"))
    return {"seconds": median(times), "value": value, "peak_gib": peak}


def main() -> None:
    parser = ArgumentParser(allow_abbrev=False, description=__doc__)
    for name, default in (("volumes", 1000), ("features", 2048), ("threads", 2), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    told = (asked.volumes, asked.features, asked.threads, asked.repeats)
    found = {}
    for name in WAYS:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            found[name] = alone.submit(measured, name, *told).result()
        one = found[name]
        print(
            f"{name}: {one['seconds']:.2f} s, {one['peak_gib']:.2f} GiB, value {one['value']:.6g}",
            flush=True,
        )
    for metric, usual in (("FID", "FID by sqrtm"), ("MMD", "MMD by cdist")):
        print(
            f"{usual} takes {found[usual]['seconds'] / found[metric]['seconds']:.1f} times as long"
        )
    if asked.json:
        write_json(asked.json, found)


if __name__ == "__main__":
    main()
