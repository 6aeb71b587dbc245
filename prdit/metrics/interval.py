"""How sure a score is: what it would be for other samples of the same two collections."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

Score = Callable[[np.ndarray, np.ndarray], float]
"""(real features [n, d], generated features [m, d]) -> one number."""

REPLICATES = 40
LEVEL = 0.95


def bootstrap(score: Score, real: np.ndarray, generated: np.ndarray) -> tuple[float, float]:
    """Interval of 95 % of a score, by drawing both sets anew with replacement.

    Volumes drawn twice make distances larger than they are; so the spread of the replicates is
    taken around their own mean, and put around the score itself.
    """
    found = []
    for number in range(REPLICATES):
        rng = stream("bootstrap", number)
        some, others = (rng.integers(len(x), size=len(x)) for x in (real, generated))
        found.append(score(real[some], generated[others]))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.array(found) - np.mean(found), [tail, 1 - tail])
    value = score(real, generated)
    return value + float(low), value + float(high)


def stream(purpose: str, *address: int) -> np.random.Generator:
    """Random numbers that are a function of their purpose and address alone."""
    key = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "little")
    return np.random.default_rng([key, *address])
