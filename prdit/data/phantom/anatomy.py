"""The anatomy of one phantom subject: what a chest is made of, before any grid is chosen.

Positions are (z, y, x) in mm from the centre of the thorax: z towards the head, y towards the
back, x towards the patient's left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prdit.data.phantom.shapes import rotated, superquadric

# Purposes of the random streams.
BODY, VESSELS, AIRWAYS, NODULES, TEXTURE, NOISE, ACQUISITION = range(7)
LEFT, RIGHT = 1, -1
_LUNG_EXPONENT = 2.25
# Both lungs together are squarer than either alone, and the cage goes round both.
CAGE_EXPONENT = 2.9
_FULL_LUNG_BELOW_MM = -20.0


@dataclass(frozen=True)
class Anatomy:
    """One subject. Lengths in mm."""

    seed: int
    index: int
    cage_depth: float
    """Half extent of the lungs from front to back."""
    cage_width: float
    """Half extent of the lungs from side to side."""
    wall: float
    """Thickness of muscle and ribs round the lungs."""
    fat: float
    breast: float
    """How far the breasts stand out; 0 for none."""
    apex: float
    """z of the top of the lungs."""
    dome: float
    """z of the top of the right diaphragm."""
    recess: float
    """Drop of the diaphragm from its dome to the chest wall."""
    heart_scale: float
    mediastinum: float
    """Half width of the mediastinum at the great vessels."""
    lung_hu: float
    gravity_hu_per_mm: float
    blood_hu: float
    liver_hu: float
    noise_hu: float

    def stream(self, purpose: int) -> np.random.Generator:
        """One independent stream per purpose, so that one organ's draws never move another's."""
        return np.random.default_rng([self.seed, purpose, self.index])


@dataclass(frozen=True)
class Nodule:
    """A lung nodule; ground glass below -300 HU, solid above."""

    centre_mm: tuple[float, float, float]
    radius_mm: float
    hu: float


def draw_anatomy(seed: int, index: int) -> Anatomy:
    """Anatomy of subject `index`, the same on every grid."""
    rng = np.random.default_rng([seed, BODY, index])
    habitus = rng.uniform(0.93, 1.05)
    breathing = rng.uniform(-18.0, 8.0)
    contrast = rng.random() < 0.5
    return Anatomy(
        seed=seed,
        index=index,
        cage_depth=habitus * rng.uniform(82.0, 97.0),
        cage_width=habitus * rng.uniform(104.0, 112.0),
        wall=rng.uniform(23.5, 28.5),
        fat=rng.uniform(9.0, 22.0),
        breast=max(rng.uniform(-24.0, 24.0), 0.0),
        apex=habitus * rng.uniform(97.0, 105.0),
        dome=-48.0 + breathing,
        recess=rng.uniform(34.0, 44.0),
        heart_scale=rng.uniform(0.88, 1.12),
        mediastinum=rng.uniform(25.0, 31.0),
        lung_hu=-845.0 + 1.5 * breathing + rng.uniform(-25.0, 15.0),
        gravity_hu_per_mm=rng.uniform(0.3, 0.7),
        blood_hu=rng.uniform(150.0, 320.0) if contrast else rng.uniform(35.0, 48.0),
        liver_hu=rng.uniform(90.0, 120.0) if contrast else rng.uniform(45.0, 65.0),
        noise_hu=rng.uniform(12.0, 32.0),
    )


def lung_taper(anatomy: Anatomy, z: np.ndarray) -> np.ndarray:
    """Cross-section of the lungs at height z, relative to the full one: 1 below, 0 at the apex."""
    rise = (z - _FULL_LUNG_BELOW_MM) / (anatomy.apex - _FULL_LUNG_BELOW_MM)
    return (1.0 - np.clip(rise, 0.0, 1.0) ** 2.6) ** (1 / _LUNG_EXPONENT)


def apex_shift(anatomy: Anatomy, z: np.ndarray) -> np.ndarray:
    """How far back the chest lies at height z, in mm: the front of the upper chest slopes."""
    rise = (z - _FULL_LUNG_BELOW_MM) / (anatomy.apex - _FULL_LUNG_BELOW_MM)
    return 14.0 * np.clip(rise, 0.0, 1.3) ** 2


def cage_half_axes(anatomy: Anatomy, z: np.ndarray, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Half depth and half width of the rib cage at height z, `gap` mm outside the lungs."""
    taper = np.maximum(lung_taper(anatomy, z), 0.5)
    width = anatomy.cage_width * (0.46 + 0.54 * taper)
    return anatomy.cage_depth * taper + gap, width + gap


def cage_distance(anatomy: Anatomy, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Distance to what the rib cage holds, lungs and mediastinum, open towards the feet."""
    rise = np.maximum(z - _FULL_LUNG_BELOW_MM, 0.0)
    return superquadric(
        (x, anatomy.cage_width + 3.0, CAGE_EXPONENT),
        (y - apex_shift(anatomy, z), anatomy.cage_depth + 3.0, CAGE_EXPONENT),
        (rise, anatomy.apex + 10.0 - _FULL_LUNG_BELOW_MM, 2.6),
    )


def diaphragm_height(anatomy: Anatomy, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """z of the diaphragm: two domes, falling towards the wall and most towards the back."""
    centre = 0.48 * anatomy.cage_width
    sideways = (np.abs(x) - centre) / (0.62 * anatomy.cage_width)
    backwards = (y + 0.2 * anatomy.cage_depth) / (1.1 * anatomy.cage_depth)
    drop = anatomy.recess * (sideways**2 + backwards**2)
    # The liver holds the right dome up.
    return np.maximum(anatomy.dome - np.where(x > 0, 9.0, 0.0) - drop, -108.0)


def heart_frame(anatomy: Anatomy) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre [3], half axes [3] in mm, and rotation [3, 3] whose first row is the long axis."""
    long = np.array([-0.42, -0.45, 0.79])
    short = np.cross(long, [1.0, 0.0, 0.0])
    rows = [long, short, np.cross(long, short)]
    rotation = np.stack([row / np.linalg.norm(row) for row in rows])
    half = anatomy.heart_scale * np.array([60.0, 44.0, 47.0])
    return np.array([anatomy.dome + 14.0, -26.0, 16.0]), half, rotation


def heart_distance(anatomy: Anatomy, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Distance in mm to the tilted ellipsoid of the heart."""
    centre, half, rotation = heart_frame(anatomy)
    offsets = rotated((z, y, x), centre, rotation)
    return superquadric(*((o, float(h), 2.0) for o, h in zip(offsets, half, strict=True)))


def spine_centre(anatomy: Anatomy, z: np.ndarray) -> np.ndarray:
    """y of the middle of the vertebral bodies: a gentle kyphosis."""
    return anatomy.cage_depth - 30.0 - 0.0011 * (z - 10.0) ** 2


def mediastinum_half_width(anatomy: Anatomy, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Half the gap between the lungs: wide at the great vessels, narrow behind the sternum."""
    waist = 0.3 + 0.7 * np.exp(-(((y - 8.0) / 42.0) ** 2))
    inlet = 1.0 / (1.0 + np.exp((anatomy.apex - 30.0 - z) / 12.0))
    return anatomy.mediastinum * waist * (1.0 - 0.1 * inlet) + 14.0 * inlet


def lung_distance(anatomy: Anatomy, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Distance to both lungs: two superquadrics less mediastinum, heart, spine and diaphragm."""
    rise = np.maximum(z - _FULL_LUNG_BELOW_MM, 0.0)
    sideways = np.abs(x) - 0.46 * anatomy.cage_width
    chest = superquadric(
        (sideways, 0.54 * anatomy.cage_width, _LUNG_EXPONENT),
        (y - apex_shift(anatomy, z), anatomy.cage_depth, _LUNG_EXPONENT),
        (rise, anatomy.apex - _FULL_LUNG_BELOW_MM, 2.6),
    )
    inner = mediastinum_half_width(anatomy, z, y) - np.abs(x)
    spine = 25.0 - np.hypot(y - spine_centre(anatomy, z), x)
    floor = diaphragm_height(anatomy, y, x) + 2.0 - z
    # Fat keeps the lungs some millimetres off the heart.
    heart = 3.0 - heart_distance(anatomy, z, y, x)
    return np.maximum(np.maximum(np.maximum(chest, inner), np.maximum(spine, floor)), heart)


def draw_nodules(anatomy: Anatomy) -> list[Nodule]:
    """Nodules of one subject, 1.5 on average, centred inside the lungs."""
    rng = anatomy.stream(NODULES)
    nodules = []
    for _ in range(rng.poisson(1.5)):
        reach = [anatomy.apex, anatomy.cage_depth, anatomy.cage_width]
        places = rng.uniform(-1.0, 1.0, (64, 3)) * reach
        inside = lung_distance(anatomy, *places.T) < -3.0
        hu = rng.uniform(10.0, 70.0) if rng.random() < 0.7 else rng.uniform(-650.0, -500.0)
        radius = 2.5 + 9.5 * rng.beta(1.0, 2.5)
        if inside.any():
            nodules.append(Nodule(tuple(places[inside.argmax()].tolist()), radius, hu))
    return nodules
