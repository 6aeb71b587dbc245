"""Volumes survive their NIfTI file, their window and their pooling."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from prdit.data.volume import (
    Volume,
    average_pool,
    from_window,
    read_nifti,
    to_window,
    write_nifti,
)
from prdit.errors import UserError


@pytest.fixture
def volume() -> Volume:
    hu = np.random.default_rng(0).integers(-1024, 3071, (5, 6, 7)).astype(np.int16)
    return Volume(hu, spacing_mm=(2.5, 0.7, 0.8), origin_mm=(-120.25, 30.5, -77.0))


def assert_same(a: Volume, b: Volume) -> None:
    np.testing.assert_array_equal(a.hu, b.hu)
    np.testing.assert_allclose(a.spacing_mm, b.spacing_mm, atol=1e-5)
    np.testing.assert_allclose(a.origin_mm, b.origin_mm, atol=1e-5)


@pytest.mark.parametrize("name", ["v.nii.gz", "v.nii"])
def test_nifti_round_trip(volume: Volume, tmp_path: Path, name: str) -> None:
    write_nifti(tmp_path / name, volume)
    back = read_nifti(tmp_path / name)
    assert_same(back, volume)
    assert back.hu.dtype == np.int16


def test_viewers_see_the_same_hu_at_the_same_place(volume: Volume, tmp_path: Path) -> None:
    path = tmp_path / "v.nii.gz"
    write_nifti(path, volume)
    k, j, i = 3, 1, 4
    z, y, x = (
        o + s * n for o, s, n in zip(volume.origin_mm, volume.spacing_mm, (k, j, i), strict=True)
    )
    by_sitk = sitk.ReadImage(str(path))
    assert by_sitk.TransformPhysicalPointToIndex((x, y, z)) == (i, j, k)
    assert by_sitk[i, j, k] == volume.hu[k, j, i]
    by_nibabel = nib.load(path)
    index = np.rint(np.linalg.inv(by_nibabel.affine) @ [-x, -y, z, 1]).astype(int)
    assert np.asarray(by_nibabel.dataobj)[tuple(index[:3])] == volume.hu[k, j, i]
    np.testing.assert_allclose(by_nibabel.get_qform(), by_nibabel.get_sform(), atol=1e-4)
    assert by_nibabel.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PIR", "SLA", "IPR"])
def test_reads_any_axis_order(volume: Volume, tmp_path: Path, codes: str) -> None:
    write_nifti(tmp_path / "ours.nii.gz", volume)
    ours = nib.load(tmp_path / "ours.nii.gz")
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(ours.affine), nib.orientations.axcodes2ornt(codes)
    )
    nib.save(ours.as_reoriented(turn), tmp_path / "theirs.nii.gz")
    assert_same(read_nifti(tmp_path / "theirs.nii.gz"), volume)


def test_reads_floats_with_a_trailing_axis(tmp_path: Path) -> None:
    values = np.full((2, 3, 4, 1), -999.6, np.float32)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "v.nii")
    assert (read_nifti(tmp_path / "v.nii").hu == -1000).all()


def test_equal_volumes_give_equal_bytes_and_leave_nothing_else(
    volume: Volume, tmp_path: Path
) -> None:
    write_nifti(tmp_path / "a.nii.gz", volume)
    write_nifti(tmp_path / "b.nii.gz", volume)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii.gz", "b.nii.gz"]


def rotated() -> nib.Nifti1Image:
    turn = np.eye(4)
    turn[:2, :2] = [[0.98, -0.199], [0.199, 0.98]]
    return nib.Nifti1Image(np.zeros((3, 3, 3), np.int16), turn)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (rotated(), "oblique"),
        (nib.Nifti1Image(np.zeros((3, 3, 3, 2), np.int16), np.eye(4)), "shape"),
        (nib.Nifti1Image(np.zeros((3, 3), np.int16), np.eye(4)), "shape"),
        (nib.Nifti1Image(np.full((3, 3, 3), np.nan, np.float32), np.eye(4)), "finite"),
    ],
)
def test_refuses_what_is_no_axial_volume(
    image: nib.Nifti1Image, words: str, tmp_path: Path
) -> None:
    nib.save(image, tmp_path / "v.nii")
    with pytest.raises(UserError, match=words):
        read_nifti(tmp_path / "v.nii")


def test_refuses_unreadable_files(volume: Volume, tmp_path: Path) -> None:
    good = tmp_path / "good.nii.gz"
    write_nifti(good, volume)
    (tmp_path / "short.nii.gz").write_bytes(good.read_bytes()[:-40])
    (tmp_path / "text.nii.gz").write_bytes(gzip.compress(b"no image"))
    (tmp_path / "plain.nii").write_text("no image")
    for name in ("short.nii.gz", "text.nii.gz", "plain.nii", "missing.nii.gz"):
        with pytest.raises(UserError, match=name):
            read_nifti(tmp_path / name)


@given(hnp.arrays(np.int16, (4, 3), elements=st.integers(-2000, 4000)))
def test_window_inverse_clamps_to_the_window(hu: np.ndarray) -> None:
    v = to_window(hu, -1000, 400)
    assert v.dtype == np.float32
    assert np.abs(v).max() <= 1
    back = from_window(v, -1000, 400)
    assert back.dtype == np.int16
    np.testing.assert_array_equal(back, hu.clip(-1000, 400))


def test_window_ends_and_overshoot() -> None:
    np.testing.assert_array_equal(to_window([-1000, -300, 400], -1000, 400), [-1, 0, 1])
    np.testing.assert_array_equal(from_window([-7.0, 9.0], -1350, 150), [-1350, 150])


@given(
    hnp.arrays(np.float32, (1, 4, 8, 12), elements=st.floats(-1, 1, width=16)),
    st.sampled_from([1, 2, 4]),
)
def test_pooling_keeps_the_mean_of_every_block(x: np.ndarray, factor: int) -> None:
    pooled = average_pool(x, factor)
    assert pooled.shape == (1, 4 // factor, 8 // factor, 12 // factor)
    assert pooled.dtype == x.dtype
    np.testing.assert_allclose(pooled.mean(), x.mean(), atol=1e-5)
    corner = x[0, :factor, :factor, :factor].mean()
    np.testing.assert_allclose(pooled[0, 0, 0, 0], corner, atol=1e-5)


def test_pooling_refuses_remainders() -> None:
    with pytest.raises(UserError, match="pooled by 3"):
        average_pool(np.zeros((6, 6, 8), np.float32), 3)
