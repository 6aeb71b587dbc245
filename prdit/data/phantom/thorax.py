"""A procedural thorax: chest CT that any test can make, each subject different, none a patient."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter1d

from prdit.data.phantom import anatomy as body
from prdit.data.phantom.anatomy import LEFT, RIGHT, Anatomy
from prdit.data.phantom.shapes import FAR_MM, Canvas, superquadric, tubes
from prdit.data.phantom.skeleton import paint_skeleton
from prdit.data.phantom.trees import bronchial_tree, hilum, vessel_tree
from prdit.data.volume import Volume

_AIR, _FAT, _MUSCLE = -985.0, -105.0, 50.0


def acquisition(
    seed: int, index: int, voxel_mm: float
) -> tuple[tuple[float, float, float], tuple[int, int, int]]:
    """Scan geometry of subject `index`: spacing (z, y, x) in mm and shape [D, H, W].

    About one scan in twelve covers less than 256 mm along z.
    """
    rng = np.random.default_rng([seed, body.ACQUISITION, index])
    in_plane = voxel_mm * rng.uniform(0.85, 1.15)
    slice_step = voxel_mm * rng.choice([0.75, 1.0, 1.25, 1.5])
    short = rng.random() < 0.08
    extent = rng.uniform(200.0, 245.0) if short else rng.uniform(270.0, 340.0)
    across = int(rng.uniform(330.0, 400.0) / in_plane)
    spacing = (float(slice_step), float(in_plane), float(in_plane))
    return spacing, (int(extent / slice_step), across, across)


def thorax(
    seed: int, index: int, spacing_mm: tuple[float, float, float], shape: tuple[int, int, int]
) -> Volume:
    """Chest of subject `index` on a grid [D, H, W] of spacing (z, y, x) mm, centred on the thorax.

    The anatomy depends on (seed, index) alone; only the noise knows the grid.
    """
    anatomy = body.draw_anatomy(seed, index)
    canvas = Canvas(spacing_mm, shape)
    for paint in (
        _paint_couch,
        _paint_trunk,
        _paint_cage,
        _paint_abdomen,
        _paint_lungs,
        _paint_heart,
        _paint_great_vessels,
        _paint_pulmonary_vessels,
        _paint_airways,
        paint_skeleton,
        _paint_nodules,
    ):
        paint(canvas, anatomy)
    _add_noise(canvas, anatomy)
    hu = np.clip(np.rint(canvas.hu), -1024, 3071).astype(np.int16)
    z, y, x = (-(n - 1) / 2 * step for n, step in zip(shape, spacing_mm, strict=True))
    return Volume(hu, spacing_mm, (z, y, x))


def _trunk_half_axes(anatomy: Anatomy, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half depth and half width of the muscular trunk at height z, narrowing to the neck."""
    neck = 1.0 / (1.0 + np.exp((165.0 - z) / 16.0))
    depth = anatomy.cage_depth + 0.9 * anatomy.wall
    width = anatomy.cage_width + anatomy.wall
    return depth * (1.0 - 0.3 * neck), width * (1.0 - 0.5 * neck)


def _paint_couch(canvas: Canvas, anatomy: Anatomy) -> None:
    back = anatomy.cage_depth + 0.9 * anatomy.wall + anatomy.fat + 5.0
    region = canvas.region((-FAR_MM, 0.0, -FAR_MM), (FAR_MM,) * 3)
    _, y, x = canvas.axes(region)
    for depth in (back, back + 26.0):
        distance = np.abs(y - depth + x * x / 2200.0) - 2.0
        canvas.paint(region, distance, -250.0)


def _paint_trunk(canvas: Canvas, anatomy: Anatomy) -> None:
    reach = [anatomy.cage_depth + anatomy.wall, anatomy.cage_width + anatomy.wall]
    front, side = (r + anatomy.fat + 4.0 for r in reach)
    region = canvas.region((-FAR_MM, -front, -side), (FAR_MM, front, side))
    z, y, x = canvas.axes(region)
    depth, width = _trunk_half_axes(anatomy, z)
    if anatomy.breast:
        _paint_breasts(canvas, anatomy)
    for layer, hu in ((anatomy.fat, _FAT), (0.0, _MUSCLE)):
        distance = superquadric((y, depth + layer, 2.4), (x, width + layer, 2.4))
        canvas.paint(region, distance, hu)


def _paint_breasts(canvas: Canvas, anatomy: Anatomy) -> None:
    skin = -(anatomy.cage_depth + 0.9 * anatomy.wall + anatomy.fat)
    for side in (RIGHT, LEFT):
        centre = (-15.0, skin + 32.0, side * 0.62 * anatomy.cage_width)
        canvas.paint_ellipsoid(centre, (62.0, 32.0 + anatomy.breast, 62.0), _FAT)


def _paint_cage(canvas: Canvas, anatomy: Anatomy) -> None:
    """Fat, in which lungs, mediastinum and abdomen then lie."""
    depth, width = anatomy.cage_depth + 18.0, anatomy.cage_width + 4.0
    region = canvas.region((-FAR_MM, -depth, -width), (anatomy.apex + 10.0, depth, width))
    canvas.paint(region, body.cage_distance(anatomy, *canvas.axes(region)), -70.0)


def _paint_abdomen(canvas: Canvas, anatomy: Anatomy) -> None:
    """Liver, spleen and stomach below the diaphragm."""
    depth, width = anatomy.cage_depth, anatomy.cage_width
    below = canvas.region((-FAR_MM, -depth, -width), (anatomy.dome, depth, width))
    z, y, x = canvas.axes(below)
    inner = body.cage_distance(anatomy, z, y, x) + 4.0
    under = np.maximum(inner, z - body.diaphragm_height(anatomy, y, x))
    liver_edge = 0.8 * (x - 30.0 + 0.25 * (y + 30.0))
    spleen = superquadric((z + 120.0, 45.0, 2), (y - 40.0, 34.0, 2), (x - 72.0, 26.0, 2))
    stomach = superquadric((z + 115.0, 38.0, 2), (y + 18.0, 40.0, 2), (x - 62.0, 34.0, 2))
    canvas.paint(below, np.maximum(under, liver_edge), anatomy.liver_hu)
    canvas.paint(below, np.maximum(under, spleen), anatomy.liver_hu)
    canvas.paint(below, np.maximum(under, stomach), 35.0)
    # Gas rises to the front of a patient who lies on the back.
    gas = superquadric((z + 90.0, 20.0, 2), (y + 36.0, 22.0, 2), (x - 60.0, 26.0, 2))
    canvas.paint(below, np.maximum(np.maximum(under, stomach) + 3.0, gas), _AIR)


def _paint_lungs(canvas: Canvas, anatomy: Anatomy) -> None:
    depth, width = anatomy.cage_depth + 14.0, anatomy.cage_width
    region = canvas.region((-115.0, -depth, -width), (anatomy.apex, depth, width))
    z, y, x = canvas.axes(region)
    hu = anatomy.lung_hu + anatomy.gravity_hu_per_mm * y + _parenchyma(anatomy, z, y, x)
    canvas.paint(region, body.lung_distance(anatomy, z, y, x), hu)


def _parenchyma(anatomy: Anatomy, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Patchy density of lung tissue in HU: a few waves, so that every grid sees the same one."""
    rng = anatomy.stream(body.TEXTURE)
    texture: np.ndarray = np.zeros((1, 1, 1))
    for wavelength in (70.0, 45.0, 30.0, 20.0):
        waves = [
            np.cos(axis * (2 * np.pi / (wavelength * rng.uniform(0.8, 1.3))) + rng.uniform(0, 6.3))
            for axis in (z, y, x)
        ]
        texture = texture + 16.0 * (waves[0] * waves[1]) * waves[2]
    return texture


def _paint_heart(canvas: Canvas, anatomy: Anatomy) -> None:
    """Muscle round two ventricles and an atrium of blood."""
    centre, half, _ = body.heart_frame(anatomy)
    reach = float(half.max())
    region = canvas.region(centre - reach, centre + reach)
    distance = body.heart_distance(anatomy, *canvas.axes(region))
    muscle = 45.0 + 0.25 * max(anatomy.blood_hu - 45.0, 0.0)
    canvas.paint(region, distance, muscle)
    scale = anatomy.heart_scale
    for offset, axes in (
        ((-6.0, 4.0, 18.0), (22.0, 18.0, 24.0)),
        ((-4.0, -22.0, -6.0), (27.0, 14.0, 28.0)),
        ((6.0, 20.0, -16.0), (24.0, 17.0, 26.0)),
    ):
        chamber = tuple(float(c) + scale * o for c, o in zip(centre, offset, strict=True))
        canvas.paint_ellipsoid(chamber, tuple(scale * a for a in axes), anatomy.blood_hu)


def _paint_great_vessels(canvas: Canvas, anatomy: Anatomy) -> None:
    root = anatomy.dome + 25.0
    back = anatomy.cage_depth - 46.0
    aorta = [
        (root, -14, -4), (15, -26, -14), (38, -24, -14), (54, -10, 0), (56, 10, 14),
        (44, 26, 20), (25, back, 21), (-60, back, 16), (-220, back - 4, 6),
    ]  # fmt: skip
    cava = [(root - 40, 6, -28), (20, -6, -26), (75, -4, -24)]
    trunk = [(root + 8, -32, 10), (18, -18, 14), (14, -2, 12)]
    branches = [[(14, -2, 12), hilum(side)] for side in (RIGHT, LEFT)]
    neck = [[(58, 0, x / 2), (90, -6, x), (200, -14, 1.4 * x)] for x in (-18.0, 10.0, 22.0)]
    liver_vein = [(root - 30, 8, -26), (-220, 14, -20)]
    vessels = [(aorta, 12.5), (cava, 9.0), (trunk, 12.5), (liver_vein, 11.0)]
    vessels += [(path, 9.0) for path in branches] + [(path, 5.0) for path in neck]
    segments = [tubes(np.array(path, float), radius) for path, radius in vessels]
    canvas.paint_tubes(np.concatenate(segments), anatomy.blood_hu)
    oesophagus = np.array([(200, 6, 2), (20, 26, 3), (-100, 22, 8), (-140, 5, 25)], float)
    canvas.paint_tubes(tubes(oesophagus, 6.5), 30.0)


def _paint_pulmonary_vessels(canvas: Canvas, anatomy: Anatomy) -> None:
    canvas.paint_tubes(vessel_tree(anatomy), anatomy.blood_hu)


def _paint_airways(canvas: Canvas, anatomy: Anatomy) -> None:
    lumen = bronchial_tree(anatomy)
    wall = lumen.copy()
    wall[:, 6:] = 1.12 * wall[:, 6:] + 0.4
    canvas.paint_tubes(wall, 20.0)
    canvas.paint_tubes(lumen, _AIR)


def _paint_nodules(canvas: Canvas, anatomy: Anatomy) -> None:
    for nodule in body.draw_nodules(anatomy):
        canvas.paint_ellipsoid(nodule.centre_mm, (nodule.radius_mm,) * 3, nodule.hu)


def _add_noise(canvas: Canvas, anatomy: Anatomy) -> None:
    """In-plane band-passed noise, as filtered back-projection leaves it."""
    rng = anatomy.stream(body.NOISE)
    grain = rng.standard_normal(canvas.hu.shape, dtype=np.float32)
    for axis in (1, 2):
        grain = uniform_filter1d(grain, 2, axis=axis)
    drift = uniform_filter1d(uniform_filter1d(grain, 5, axis=1), 5, axis=2)
    grain -= drift
    canvas.hu += grain * np.float32(anatomy.noise_hu / grain.std())
