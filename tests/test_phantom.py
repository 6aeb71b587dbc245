"""The procedural thorax: deterministic, the same chest on every grid, and shaped like one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from prdit.data.phantom.anatomy import draw_anatomy, draw_nodules, lung_distance, spine_centre
from prdit.data.phantom.thorax import acquisition, thorax
from prdit.data.volume import Volume

SPACING_MM, SHAPE = (4.0, 4.0, 4.0), (80, 96, 96)
SUBJECTS = 12


@pytest.fixture(scope="module")
def chests() -> list[Volume]:
    return [thorax(7, index, SPACING_MM, SHAPE) for index in range(SUBJECTS)]


def at(volume: Volume, z: float, y: float, x: float) -> float:
    """Mean HU of the 3 x 3 x 3 voxels round a point in mm."""
    point = np.rint((np.array([z, y, x]) - volume.origin_mm) / volume.spacing_mm).astype(int)
    return float(volume.hu[tuple(slice(p - 1, p + 2) for p in point)].mean())


def enclosed_air_litres(hu: np.ndarray, voxel_mm3: float) -> float:
    """Air below -500 HU that is not joined to the border of the field."""
    labels, _ = ndimage.label(hu < -500)
    size = np.bincount(labels.ravel())
    border = [np.take(labels, (0, -1), axis).ravel() for axis in range(3)]
    size[np.unique(np.concatenate([*border, [0]]))] = 0
    return float(size.sum() * voxel_mm3 * 1e-6)


def lung_litres(volume: Volume) -> float:
    """Lung volume: air within the cage, closed over its vessels, without trachea or stray noise."""
    z, y, x = (
        o + s * np.arange(n)
        for o, s, n in zip(volume.origin_mm, volume.spacing_mm, volume.hu.shape, strict=True)
    )
    trunk = np.s_[np.abs(z) < 112, np.abs(y) < 100, np.abs(x) < 118]
    air = ndimage.binary_closing(volume.hu < -450, iterations=1)
    labels, _ = ndimage.label(air[np.ix_(*trunk)])
    size = np.sort(np.bincount(labels.ravel())[1:])
    return float(size[size > 0.1 * size[-1]].sum() * np.prod(volume.spacing_mm) * 1e-6)


def test_the_same_subject_is_the_same_volume() -> None:
    first, second = (thorax(3, 5, SPACING_MM, SHAPE) for _ in range(2))
    assert first.hu.dtype == np.int16
    assert first.hu.shape == SHAPE
    assert first.spacing_mm == SPACING_MM
    assert first.origin_mm == (-158.0, -190.0, -190.0)
    np.testing.assert_array_equal(first.hu, second.hu)


def test_subjects_and_seeds_differ(chests: list[Volume]) -> None:
    for other in (chests[1], thorax(8, 0, SPACING_MM, SHAPE)):
        assert np.abs(chests[0].hu.astype(float) - other.hu).mean() > 40
    assert len({draw_anatomy(7, index).cage_depth for index in range(50)}) == 50


@pytest.mark.parametrize("index", range(3))
def test_two_grids_see_the_same_chest(chests: list[Volume], index: int) -> None:
    other = thorax(7, index, (3.0, 2.5, 2.5), (107, 152, 152))
    assert lung_litres(other) == pytest.approx(lung_litres(chests[index]), rel=0.05)


def test_tissues_have_their_hounsfield_units(chests: list[Volume]) -> None:
    for index, chest in enumerate(chests):
        anatomy = draw_anatomy(7, index)
        assert at(chest, 0, -180, 0) == pytest.approx(-1000, abs=30)
        assert -930 < at(chest, 20, -40, 0.6 * anatomy.cage_width) < -600
        assert 20 < at(chest, -130, 0, -60) < 150  # liver
        vertebra = at(chest, 17, float(spine_centre(anatomy, np.float64(17.0))), 0)
        assert 130 < vertebra < 400
        assert chest.hu.min() >= -1024
        assert 400 < chest.hu.max() <= 3071


def test_lungs_have_the_size_of_lungs(chests: list[Volume]) -> None:
    litres = [lung_litres(chest) for chest in chests]
    assert min(litres) > 2.3
    assert max(litres) < 6.0
    assert max(litres) > 1.2 * min(litres)


def test_lungs_stay_apart_from_outside_air_in_16_mm_voxels(chests: list[Volume]) -> None:
    apart = 0
    for chest in chests:
        cube = chest.hu[8:72, 16:80, 16:80].astype(np.float32)
        pooled = cube.reshape(16, 4, 16, 4, 16, 4).mean(axis=(1, 3, 5))
        apart += enclosed_air_litres(pooled, 16.0**3) > 2.0
    assert apart >= SUBJECTS - 1


def test_nodules_lie_in_the_lungs() -> None:
    found = [(a, n) for a in (draw_anatomy(7, i) for i in range(30)) for n in draw_nodules(a)]
    assert 20 < len(found) < 80
    for anatomy, nodule in found:
        assert lung_distance(anatomy, *nodule.centre_mm) < 0
        assert 2.5 <= nodule.radius_mm <= 12.0


@pytest.mark.parametrize("voxel_mm", [1.0, 2.8, 4.0, 8.0])
def test_acquisitions_vary_and_a_few_are_short(voxel_mm: float) -> None:
    scans = [acquisition(7, index, voxel_mm) for index in range(200)]
    extents = np.array([np.multiply(*scan) for scan in scans])
    short = extents[:, 0] < 256
    assert 0.03 < short.mean() < 0.15
    assert extents[:, 0].min() > 185
    assert extents[:, 0].max() <= 340
    assert extents[:, 2].min() > 315
    assert extents[:, 2].max() <= 400
    assert len({spacing for spacing, _ in scans}) == 200


def test_a_coarse_grid_works() -> None:
    chest = thorax(7, 0, (8.0, 8.0, 8.0), (36, 45, 45))
    assert (chest.hu < -600).mean() > 0.3
