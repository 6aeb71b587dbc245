"""From any scan to a cube with its row: geometry, anatomy, quality; phantoms and real chests."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from prdit.config import Grid
from prdit.data import preprocess
from prdit.data.anatomy import body_share, lung_mask, lung_ml
from prdit.data.dicom import read_series
from prdit.data.phantom.dicom_writer import save_datasets, series_datasets, write_series
from prdit.data.preprocess import preprocess_scan, preprocess_series
from prdit.data.quality import QualityRow, read_rows, write_rows
from prdit.data.resample import to_cube
from prdit.data.scan import Scan
from prdit.data.sources.verified import RawScan, write_verified
from prdit.data.volume import Volume, average_pool, read_nifti
from prdit.errors import UserError
from prdit.recipes import PreprocessRecipe


def make_scan(
    hu: np.ndarray, spacing_xyz: tuple[float, float, float], direction: np.ndarray | None = None
) -> Scan:
    axes = np.eye(3) if direction is None else direction
    return Scan(hu.astype(np.int16), spacing_xyz, (-20.0, 35.0, -110.0), axes)


def thorax(width_mm: float = 320, voxel_mm: float = 4.0, field_mm: float = 400) -> np.ndarray:
    """[z, y, x] HU: an elliptic body with two lungs and an airway up to the last slice."""
    n = round(field_mm / voxel_mm)
    steps = (np.arange(n) - (n - 1) / 2) * voxel_mm
    z, y, x = np.meshgrid(steps[: round(280 / voxel_mm)] + 60, steps, steps, indexing="ij")
    hu = np.full(x.shape, -1000)
    hu[(2 * x / width_mm) ** 2 + (y / 115) ** 2 < 1] = 40
    for side in (-1, 1):
        lung = ((x - side * width_mm / 4.4) / 55) ** 2 + (y / 80) ** 2 + (z / 110) ** 2 < 1
        hu[lung] = -850
    hu[(abs(x) < 10) & (abs(y) < 10) & (z > 0)] = -1000
    hu[(abs(x) < 60) & (abs(y) < 8) & (abs(z) < 8)] = -950
    return hu.astype(np.int16)


# Resampling


def test_even_scan_on_its_own_grid_is_untouched() -> None:
    hu = np.random.default_rng(0).integers(-1024, 3000, (8, 8, 8))
    cube = to_cube(make_scan(hu, (1.5, 1.5, 1.5)), 8, 1.5)
    np.testing.assert_array_equal(cube.hu, hu)
    np.testing.assert_allclose(cube.origin_mm, (-110, 35, -20))


def test_crop_and_pad_around_the_centre() -> None:
    hu = np.random.default_rng(0).integers(-900, 900, (4, 10, 6))
    cube = to_cube(make_scan(hu, (2.0, 2.0, 2.0)), 6, 2.0)
    np.testing.assert_array_equal(cube.hu[1:5], hu[:, 2:8])
    assert (cube.hu[[0, 5]] == -1000).all()
    np.testing.assert_allclose(cube.origin_mm, (-112, 39, -20))


@given(angles=st.tuples(*[st.integers(-60, 60)] * 3))
def test_linear_ramps_survive_any_orientation(angles: tuple[int, int, int]) -> None:
    """HU = a linear function of the place, whatever way the scanner laid the voxels."""
    slope, direction = np.array([3.0, -2.0, 1.5]), Rotation.from_euler("zyx", angles, True)
    empty = make_scan(np.zeros((28, 30, 32)), (1.6, 1.5, 1.4), direction.as_matrix())
    index_xyz = np.stack(np.meshgrid(*map(np.arange, (28, 30, 32)), indexing="ij")[::-1], axis=-1)
    ramp = (empty.to_patient(index_xyz) - empty.centre_xyz) @ slope
    cube = to_cube(replace(empty, hu=np.rint(ramp).astype(np.int16)), 9, 2.0)
    z, y, x = (o + s * np.arange(9) for o, s in zip(cube.origin_mm, cube.spacing_mm, strict=True))
    zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
    expected = (np.stack([xx, yy, zz], axis=-1) - empty.centre_xyz) @ slope
    assert np.abs(cube.hu - expected).max() <= 1.1


def test_smoothing_stops_aliasing_along_fine_axes_only() -> None:
    z, _, x = np.indices((64, 32, 32))
    stripes = np.where(z % 2 == 0, 500, -500)  # finer than the target can show
    cube = to_cube(make_scan(stripes, (1.0, 1.0, 0.45)), 20, 1.0)
    assert np.abs(cube.hu).max() < 30
    stripes = np.where(x % 2 == 0, 500, -500)  # as fine as the target: nothing to smooth
    cube = to_cube(make_scan(stripes, (1.0, 1.0, 0.45)), 20, 1.0)
    assert set(np.unique(cube.hu)) == {-500, 500}


def test_smoothing_and_cropping_agree_with_smoothing_it_all() -> None:
    hu = np.random.default_rng(0).integers(-1000, 1000, (40, 44, 48))
    scan = make_scan(hu, (0.5, 0.6, 0.4))
    small, large = to_cube(scan, 4, 1.0), to_cube(scan, 30, 1.0)
    np.testing.assert_allclose(small.hu, large.hu[13:17, 13:17, 13:17], atol=1)


# Anatomy


@pytest.mark.parametrize("voxel_mm", [2.0, 4.0, 8.0, 16.0])
def test_lung_volume_hardly_depends_on_the_voxels(voxel_mm: float) -> None:
    scan = make_scan(thorax(voxel_mm=2.0), (2.0, 2.0, 2.0))
    size = round(400 / voxel_mm)  # padded by 120 mm along z, where the airway is open
    cube = to_cube(scan, size, voxel_mm)
    truth = lung_ml(thorax(voxel_mm=2.0), (2.0, 2.0, 2.0))
    assert 3500 < truth < 4500
    assert lung_ml(cube.hu, cube.spacing_mm) == pytest.approx(truth, rel=0.06)


def test_lungs_cut_by_the_crop_still_count() -> None:
    cube = to_cube(make_scan(thorax(width_mm=380), (4.0, 4.0, 4.0)), 64, 4.0)
    mask = lung_mask(cube.hu, cube.spacing_mm)
    assert mask[:, :, 0].any()
    assert mask[:, :, -1].any()
    assert 2500 < lung_ml(cube.hu, cube.spacing_mm) < 4000


def test_room_and_table_are_no_lung() -> None:
    hu = thorax(voxel_mm=4.0)[:, 18:82, 18:82]
    before = lung_ml(hu, (4.0, 4.0, 4.0))
    assert before > 3500
    hu[:, 61:] = 100
    hu[:, 62:63] = -900  # a hollow table from side to side
    assert lung_ml(hu, (4.0, 4.0, 4.0)) == before
    assert lung_ml(np.full((16, 16, 16), -1000), (16.0,) * 3) == 0
    assert lung_ml(np.full((16, 16, 16), 40), (16.0,) * 3) == 0


def test_body_share() -> None:
    hu = thorax(voxel_mm=8.0)
    assert body_share(hu) == 1
    hu[:, :2, :2] = 40
    assert 0.95 < body_share(hu) < 1
    noise = np.random.default_rng(0).normal(-700, 300, (32, 32, 32))
    assert body_share(noise) < 0.5
    assert body_share(np.full((4, 4, 4), -1000)) == 0


# Quality rows


def test_rows_survive_their_table(tmp_path: Path) -> None:
    rows = [
        QualityRow(),
        QualityRow("1.2", status="fixed", reason='a, "b"\nc', n_files=3, axial=False, dz_min=0.1),
        QualityRow("1.3", axial=True, raw_p1=-1003.13, padding_value=-2000, sha256="00"),
    ]
    write_rows(tmp_path / "q.csv", rows)
    assert read_rows(tmp_path / "q.csv") == rows
    write_rows(tmp_path / "none.csv", [])
    assert read_rows(tmp_path / "none.csv") == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["none.csv", "q.csv"]


def test_foreign_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("series_uid,colour\n1,red\n")
    for name in ("q.csv", "missing.csv"):
        with pytest.raises(UserError, match=name):
            read_rows(tmp_path / name)


# Preprocessing


def test_phantom_series_goes_through(tmp_path: Path) -> None:
    truth = Volume(thorax(), (4.0, 4.0, 4.0), (-140.0, -198.0, -198.0))
    uid = write_series(tmp_path, truth, patient_id="P1")
    volume, row = preprocess_series(tmp_path, Grid(size=64, spacing_mm=4.0))
    assert volume is not None
    np.testing.assert_array_equal(volume.hu[:, 0], truth.hu[3:67, 18, 18:82])
    assert (row.series_uid, row.patient_id, row.status, row.flags) == (uid, "P1", "ok", "")
    assert row.sha256 == hashlib.sha256(volume.hu.tobytes()).hexdigest()
    assert (row.out_min, row.out_max) == (volume.hu.min(), volume.hu.max())
    assert row.out_mean == pytest.approx(volume.hu.mean())
    assert row.pad_fraction == 0
    assert row.lung_kept == pytest.approx(1, abs=0.01)
    assert row.lung_ml == pytest.approx(lung_ml(truth.hu, truth.spacing_mm), rel=0.03)
    assert row.body_share == 1


def test_scans_shorter_and_narrower_than_the_cube_are_padded(tmp_path: Path) -> None:
    hu = thorax()[20:50, :, 25:75]
    write_series(tmp_path, Volume(hu, (4.0, 4.0, 4.0)), patient_id="P1")
    volume, row = preprocess_series(tmp_path, Grid(size=64, spacing_mm=4.0))
    assert volume is not None
    np.testing.assert_array_equal(volume.hu[17:47, :, 7:57], hu[:, 18:82])
    assert (volume.hu[:17] == -1000).all()
    assert (volume.hu[:, :, 57:] == -1000).all()
    assert row.pad_fraction == pytest.approx(1 - (30 / 64) * (50 / 64), abs=0.01)
    assert row.status == "ok"


def test_shard_reports_every_series_and_writes_the_usable(tmp_path: Path) -> None:
    volume = Volume(thorax(), (4.0, 4.0, 4.0))
    good, holed, broken = (
        list(series_datasets(volume, patient_id=name)) for name in ("good", "holed", "broken")
    )
    del holed[30]
    del broken[30:34]
    folders = {
        name: save_datasets(tmp_path / name, slices)
        for name, slices in (("good", good), ("holed", holed), ("broken", broken))
    }
    scans = [RawScan(uid, tmp_path / name) for name, uid in folders.items()]
    write_verified(tmp_path / "verified.json", scans)
    recipe = PreprocessRecipe(grid=Grid(size=32, spacing_mm=8.0), array=None)
    quality = tmp_path / "out" / "quality.csv"
    preprocess.run(recipe, verified=tmp_path / "verified.json", quality=quality)
    by_uid = {row.series_uid: row for row in read_rows(quality)}
    rows = [by_uid[uid] for uid in folders.values()]
    assert len(by_uid) == 3
    assert [row.status for row in rows] == ["ok", "fixed", "excluded"]
    assert rows[1].flags == "z resampled onto even steps"
    assert rows[2].reason.startswith("missing slices: a gap of 20.0 mm")
    assert rows[2].patient_id == "broken"
    assert rows[2].n_files == len(broken)
    assert rows[2].sha256 == ""
    files = sorted(p.name for p in (tmp_path / "out").glob("*.nii.gz"))
    assert files == sorted(f"{row.series_uid}.nii.gz" for row in rows[:2])
    for row in rows[:2]:
        hu = read_nifti(tmp_path / "out" / f"{row.series_uid}.nii.gz").hu
        assert hashlib.sha256(hu.tobytes()).hexdigest() == row.sha256


def test_shard_names_the_series_of_a_hopeless_folder(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_text("garbage")
    _, row = preprocess_scan(RawScan("1.2.3", tmp_path), Grid(size=16, spacing_mm=16.0))
    assert (row.series_uid, row.status) == ("1.2.3", "excluded")
    assert row.reason == "a.dcm cannot be read as DICOM"


def test_missing_sources_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing"):
        preprocess_series(tmp_path / "missing", Grid(size=16, spacing_mm=16.0))


# Real chests


def independent_cube(image: sitk.Image) -> np.ndarray:
    """SimpleITK alone, from its own reading: 256^3 at 1 mm around the middle."""
    image = sitk.Clamp(sitk.Cast(image, sitk.sitkFloat32), sitk.sitkFloat32, -1024, 3071)
    middle = [(n - 1) / 2 for n in image.GetSize()]
    centre = image.TransformContinuousIndexToPhysicalPoint(middle)
    cube = sitk.Resample(
        image,
        [256] * 3,
        sitk.Transform(),
        sitk.sitkLinear,
        [c - 127.5 for c in centre],
        [1.0] * 3,
        np.eye(3).ravel().tolist(),
        -1000,
    )
    return sitk.GetArrayFromImage(cube)


@pytest.fixture(scope="module")
def lung_dx(real_ct: Path) -> tuple[Volume, QualityRow]:
    volume, row = preprocess_series(real_ct / "lung_dx_a0001_L_5mm", Grid(size=256, spacing_mm=1.0))
    assert volume is not None
    return volume, row


@pytest.fixture(scope="module")
def cip(real_ct: Path) -> tuple[Volume, QualityRow]:
    volume, row = preprocess_series(real_ct / "cip_ct64", Grid(size=256, spacing_mm=1.0))
    assert volume is not None
    return volume, row


@pytest.mark.parametrize(
    ("name", "fixture"), [("lung_dx_a0001_L_5mm", "lung_dx"), ("cip_ct64", "cip")]
)
def test_real_series_agree_with_simpleitk(
    real_ct: Path, name: str, fixture: str, request: pytest.FixtureRequest
) -> None:
    volume, row = request.getfixturevalue(fixture)
    assert (row.status, row.axial, row.n_missing) == ("ok", True, 0)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(real_ct / name))
    difference = np.abs(volume.hu - independent_cube(sitk.ReadImage(names)))
    assert np.median(difference) <= 1
    assert np.quantile(difference, 0.999) <= 2


def test_real_image_file_agrees_with_simpleitk(real_ct: Path) -> None:
    path = real_ct / "elastix_3DCT_lung_right.mha"
    volume, row = preprocess_series(path, Grid(size=256, spacing_mm=1.0))
    assert volume is not None
    assert np.median(np.abs(volume.hu - independent_cube(sitk.ReadImage(str(path))))) <= 1
    assert (row.status, row.raw_min) == ("ok", -1255)
    assert volume.hu.min() >= -1024
    assert row.pad_fraction == pytest.approx(1 - 157.1 * 214.5 / 256**2, abs=0.02)


def test_real_lungs_are_whole_and_upright(
    real_ct: Path, lung_dx: tuple[Volume, QualityRow], cip: tuple[Volume, QualityRow]
) -> None:
    scan = read_series(real_ct / "lung_dx_a0001_L_5mm")
    whole = lung_ml(scan.hu, scan.spacing_xyz[::-1])
    assert whole == pytest.approx(5480, rel=0.1)
    for volume, row in (lung_dx, cip):
        assert (row.body_share or 0) > 0.98
        assert 2000 < (row.lung_ml or 0) < 7000
        assert (row.lung_kept or 0) > 0.95
        assert_upright(volume)
    row = lung_dx[1]
    assert row.lung_ml == pytest.approx(whole * (row.lung_kept or 0), rel=0.05)


def assert_upright(volume: Volume) -> None:
    """Feet to head, front to back, right to left: by liver, spine, and heart."""
    hu = average_pool(volume.hu.astype(np.float32), 4)
    lung = lung_mask(hu, (4.0, 4.0, 4.0))
    halves = lung[:, :, :32].sum(), lung[:, :, 32:].sum()
    assert min(halves) > 0.35 * sum(halves)
    tissue = (hu > 0) & (hu < 120)
    assert tissue[:8].sum() > 1.3 * tissue[-8:].sum()  # liver and belly below, apices above
    bone = hu[:, :, 24:40] > 200
    assert bone[:, 32:].sum() > 2 * bone[:, :32].sum()  # spine behind, thin sternum in front
    middle = lung[20:44]
    assert middle[:, :, :32].sum() > middle[:, :, 32:].sum()  # the heart takes of the left lung


def test_real_lungs_are_found_at_every_size(real_ct: Path) -> None:
    for name, truth in (("lung_dx_a0001_L_5mm", 5600), ("cip_ct64", 4850)):
        scan = read_series(real_ct / name)
        for size in (16, 32, 64):
            cube = to_cube(scan, size, 256 / size)
            assert lung_ml(cube.hu, cube.spacing_mm) == pytest.approx(truth, rel=0.05)
