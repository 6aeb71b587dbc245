"""Airways and pulmonary vessels: trees of tapered tubes that grow from the hila into the lungs."""

from __future__ import annotations

import numpy as np

from prdit.data.phantom.anatomy import AIRWAYS, LEFT, RIGHT, VESSELS, Anatomy, lung_distance
from prdit.data.phantom.shapes import tubes

_CARINA_MM = np.array([20.0, 14.0, 0.0])
# Headings from the hilum to upper, middle and lower lobe, each to the front and to the back.
_LOBES = np.array(
    [
        (1, -0.4, 0.5),
        (0.8, 0.6, 0.7),
        (0, -0.8, 0.8),
        (-0.2, 0.5, 1),
        (-1, -0.1, 0.7),
        (-1, 0.9, 0.4),
    ]
)


def hilum(side: int) -> np.ndarray:
    """Where vessels and bronchus enter the lung of a side: [3], zyx in mm."""
    return np.array([4.0, 6.0, side * 32.0])


def vessel_tree(anatomy: Anatomy) -> np.ndarray:
    """Pulmonary arteries and veins of both lungs, segments [N, 8]."""
    rng = anatomy.stream(VESSELS)
    sides = (RIGHT, LEFT) * 2
    return np.concatenate([_grow(anatomy, rng, side, 3.8, 32.0, 7) for side in sides])


def bronchial_tree(anatomy: Anatomy) -> np.ndarray:
    """Lumen of trachea, main bronchi and bronchi, segments [N, 8]."""
    rng = anatomy.stream(AIRWAYS)
    larynx = np.array([200.0, -12.0, rng.uniform(-4.0, 4.0)])
    trachea = tubes(np.stack([larynx, _CARINA_MM]), [5.0, rng.uniform(6.5, 8.0)])
    mains = [tubes(np.stack([_CARINA_MM, hilum(side)]), [6.5, 5.0]) for side in (RIGHT, LEFT)]
    trees = [_grow(anatomy, rng, side, 2.9, 26.0, 3) for side in (RIGHT, LEFT)]
    return np.concatenate([trachea, *mains, *trees])


def _grow(
    anatomy: Anatomy,
    rng: np.random.Generator,
    side: int,
    radius: float,
    length: float,
    generations: int,
) -> np.ndarray:
    """Segments [N, 8] of a tree that forks from one hilum and stays inside the lung."""
    heading = _unit(_LOBES * [1, 1, side])
    tips = np.broadcast_to(hilum(side), heading.shape)
    tree = []
    for _ in range(generations):
        parent, ends = _branch(anatomy, rng, tips, heading, length, side)
        radii = np.broadcast_to([radius, 0.82 * radius], (len(parent), 2))
        tree.append(np.concatenate([tips[parent], ends, radii], axis=1))
        heading = np.repeat(_unit(ends - tips[parent]), 2, axis=0)
        heading = _unit(heading + 0.5 * rng.standard_normal(heading.shape))
        tips = np.repeat(ends, 2, axis=0)
        radius, length = 0.8 * radius, 0.82 * length
    return np.concatenate(tree)


def _branch(
    anatomy: Anatomy,
    rng: np.random.Generator,
    tips: np.ndarray,
    heading: np.ndarray,
    length: float,
    side: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `tips` [N, 3] that can grow on within the lung, and where each then ends [M, 3]."""
    trials = _unit(heading[:, None] + 0.38 * rng.standard_normal((len(tips), 8, 3)))
    ends = tips[:, None] + length * rng.uniform(0.7, 1.3, (len(tips), 1, 1)) * trials
    inside = lung_distance(anatomy, *np.moveaxis(ends, -1, 0)) < -2.5
    inside &= ends[..., 2] * side > 0
    parent = np.flatnonzero(inside.any(axis=1))
    return parent, ends[parent, inside.argmax(axis=1)[parent]]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
