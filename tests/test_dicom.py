"""The reader against a zoo of series whose truth is known."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom import Dataset

from prdit.data.dicom import read_series
from prdit.data.phantom.dicom_writer import save_datasets, series_datasets, write_series
from prdit.data.quality import Excluded
from prdit.data.scan import Scan, check_hu, read_image
from prdit.data.volume import Volume
from prdit.errors import UserError

N_SLICES, DZ = 48, 2.5


def make_truth() -> Volume:
    """Structure in plane, a ramp along z: so interpolation along z has an exact answer."""
    plane = np.random.default_rng(1).integers(-1000, 1000, (12, 10))
    hu = plane + 4 * np.arange(N_SLICES)[:, None, None]
    return Volume(hu.astype(np.int16), spacing_mm=(DZ, 0.8, 0.7), origin_mm=(-60.0, -4.4, -3.15))


TRUTH = make_truth()
Series = list[Dataset]


@pytest.fixture
def series() -> Series:
    return list(series_datasets(TRUTH, patient_id="zoo"))


def move(dataset: Dataset, by_mm: float) -> None:
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, y, float(z) + by_mm]


def twin(dataset: Dataset, number: int, add: int = 0) -> Dataset:
    """Another image at the same place."""
    other = copy.deepcopy(dataset)
    other.InstanceNumber = number
    other.SOPInstanceUID = f"{dataset.SOPInstanceUID}.1"[-64:].lstrip(".")
    other.PixelData = (np.frombuffer(dataset.PixelData, "<i2") + add).astype("<i2").tobytes()
    return other


def assert_truth(scan: Scan, truth: np.ndarray = TRUTH.hu, origin_z: float = -60.0) -> None:
    assert scan.hu.dtype == np.int16
    assert scan.hu.shape == truth.shape
    assert np.abs(scan.hu - truth.astype(int)).max() <= 1
    np.testing.assert_allclose(scan.spacing_xyz, (0.7, 0.8, DZ), atol=1e-6)
    np.testing.assert_allclose(scan.origin_xyz, (-3.15, -4.4, origin_z), atol=1e-6)
    np.testing.assert_allclose(scan.direction, np.eye(3), atol=1e-6)


def test_writer_and_reader_agree(tmp_path: Path) -> None:
    uid = write_series(tmp_path, TRUTH, patient_id="P7", series_number=3)
    scan = read_series(tmp_path)
    assert_truth(scan)
    np.testing.assert_array_equal(scan.hu, TRUTH.hu)
    assert scan.flags == ()
    quality = scan.quality
    assert (quality.series_uid, quality.patient_id, quality.n_files) == (uid, "P7", N_SLICES)
    assert (quality.dz_median, quality.n_missing, quality.n_duplicates) == (DZ, 0, 0)
    assert (quality.rescale, quality.axial, quality.tilt_deg) == ("1*v-1024", True, 0)
    assert quality.extent_z == N_SLICES * DZ


def test_writer_is_deterministic_and_names_tell_nothing(tmp_path: Path) -> None:
    uids = [write_series(tmp_path / f, TRUTH, patient_id="P", series_number=1) for f in "ab"]
    assert uids[0] == uids[1] != write_series(tmp_path / "c", TRUTH, patient_id="Q")
    files = sorted((tmp_path / "a").iterdir())
    assert len(files) == N_SLICES
    for file in files:
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    numbers = [int(pydicom.dcmread(f).InstanceNumber) for f in files]
    assert numbers not in (sorted(numbers), sorted(numbers, reverse=True))


def test_simpleitk_reads_what_we_write(tmp_path: Path) -> None:
    write_series(tmp_path, TRUTH, patient_id="P")
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path))
    image = sitk.ReadImage(names)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), TRUTH.hu)
    np.testing.assert_allclose(image.GetSpacing(), (0.7, 0.8, DZ))
    np.testing.assert_allclose(image.GetOrigin(), (-3.15, -4.4, -60.0))


def test_order_of_names_and_numbers_does_not_matter(series: Series, tmp_path: Path) -> None:
    for k, dataset in enumerate(series):
        dataset.InstanceNumber = k + 1
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(tmp_path / f"{(7 * k) % N_SLICES:03d}", enforce_file_format=True)
    assert_truth(read_series(tmp_path))


# Each fault: what it does to the slices, and the flags it must leave on a scan equal to the truth.


def unsigned(series: Series) -> None:
    for d in series:
        d.PixelRepresentation = 0


def thick(series: Series) -> None:
    for d in series:
        d.SliceThickness, d.SpacingBetweenSlices = "5", "3"


def copied(series: Series) -> None:
    series.insert(3, twin(series[20], number=900))


def doubled(series: Series) -> None:
    series.insert(3, twin(series[20], number=900, add=500))


def hole(series: Series) -> None:
    del series[20]


def two_holes_nearby(series: Series) -> None:
    del series[20], series[21]


def lone_end(series: Series) -> None:
    lowest = twin(series[0], number=901, add=77)
    move(lowest, -38)
    series.append(lowest)


def lone_top(series: Series) -> None:
    highest = twin(series[-1], number=902, add=77)
    move(highest, 38)
    series.append(highest)


def jitter(series: Series) -> None:
    for k, d in enumerate(series):
        move(d, 0.004 * (-1) ** k if 0 < k < N_SLICES - 1 else 0)


def fractional_mixed_slopes(series: Series) -> None:
    for k, (d, hu) in enumerate(zip(series, TRUTH.hu, strict=True)):
        slope, intercept = (0.25, -1024.5) if k % 2 else (0.5, -1000)
        d.RescaleSlope, d.RescaleIntercept = str(slope), str(intercept)
        d.PixelData = np.rint((hu - intercept) / slope).astype("<i2").tobytes()


MENDED: list[tuple[Callable[[Series], None], tuple[str, ...]]] = [
    (unsigned, ()),
    (thick, ()),
    (jitter, ()),
    (fractional_mixed_slopes, ()),
    (copied, ("1 duplicate slices dropped",)),
    (doubled, ("1 differing slices at the same position dropped",)),
    (hole, ("z resampled onto even steps",)),
    (two_holes_nearby, ("z resampled onto even steps",)),
    (lone_end, ("1 isolated end slices dropped",)),
    (lone_top, ("1 isolated end slices dropped",)),
]


@pytest.mark.parametrize(("fault", "flags"), MENDED, ids=lambda v: getattr(v, "__name__", ""))
def test_mends(
    series: Series, tmp_path: Path, fault: Callable[[Series], None], flags: tuple[str, ...]
) -> None:
    fault(series)
    save_datasets(tmp_path, series)
    scan = read_series(tmp_path)
    assert_truth(scan)
    assert scan.flags == flags


def test_counts_what_it_mends(series: Series, tmp_path: Path) -> None:
    hole(series)
    copied(series)
    save_datasets(tmp_path, series)
    quality = read_series(tmp_path).quality
    assert (quality.n_files, quality.n_used) == (N_SLICES, N_SLICES - 1)
    assert (quality.n_missing, quality.n_duplicates) == (1, 1)
    assert (quality.dz_median, quality.dz_max) == (DZ, 2 * DZ)


def test_of_two_images_at_one_place_the_lower_number_stays(series: Series, tmp_path: Path) -> None:
    series.append(twin(series[20], number=0, add=500))
    save_datasets(tmp_path, series)
    truth = TRUTH.hu.copy()
    truth[20] += 500
    assert_truth(read_series(tmp_path), truth)


def test_missing_end_is_just_a_shorter_scan(series: Series, tmp_path: Path) -> None:
    save_datasets(tmp_path, series[3:])
    assert_truth(read_series(tmp_path), TRUTH.hu[3:], origin_z=-60 + 3 * DZ)


def test_short_steps_are_resampled_from_true_positions(series: Series, tmp_path: Path) -> None:
    for k in range(30, N_SLICES):  # a short step: everything above lies 1 mm lower
        move(series[k], -1.0)
    for d in series:
        height = round(float(d.ImagePositionPatient[2]))
        d.PixelData = (np.zeros(120, "<i2") + 1024 + height).tobytes()
    save_datasets(tmp_path, series)
    scan = read_series(tmp_path)
    assert scan.flags == ("z resampled onto even steps",)
    z = scan.origin_xyz[2] + scan.spacing_xyz[2] * np.arange(len(scan.hu))
    assert scan.spacing_xyz[2] == pytest.approx(DZ)
    np.testing.assert_allclose(scan.hu[:, 5, 5], z, atol=1)


def steps(count: int, usual: float, odd: dict[int, float]) -> list[float]:
    return [odd.get(k, usual) for k in range(count)]


LIDC = {  # the faulty series of LIDC-IDRI: their steps, what is mended, slices and spacing after
    "0418": (steps(230, 1.25, dict.fromkeys((3, 50, 60, 70, 90), 0)), "5 differing", 226, 1.25),
    "0123": (steps(260, 1.25, {100: 0.5, 101: 0.75, 102: 0.5}), "z resampled", 259, 1.25),
    "0267": (steps(120, 2.5, {40: 0.5, 80: 0.5}), "z resampled", 119, 2.5),
    "0672": (steps(500, 0.625, dict.fromkeys((40, 80, 300), 1.25)), "z resampled", 504, 0.625),
    "0514": (steps(141, 2.0, {0: 38}), "1 isolated end", 141, 2.0),
}


@pytest.mark.parametrize("name", LIDC)
def test_the_faulty_series_of_lidc_are_mended(tmp_path: Path, name: str) -> None:
    dz, flag, count, spacing = LIDC[name]
    hu = np.tile(np.arange(len(dz) + 1, dtype=np.int16)[:, None, None], (1, 4, 4))
    slices = list(series_datasets(Volume(hu, (spacing, 1.0, 1.0)), patient_id=name))
    for dataset, z in zip(slices, np.cumsum([0, *dz]), strict=True):
        dataset.ImagePositionPatient = [0, 0, float(z)]
    save_datasets(tmp_path, slices)
    scan = read_series(tmp_path)
    (found,) = scan.flags
    assert found.startswith(flag)
    assert len(scan.hu) == count
    assert scan.spacing_xyz[2] == pytest.approx(spacing)


@pytest.mark.parametrize(("signed", "tag"), [(1, -2000), (0, 63536)])
def test_padding_becomes_air(series: Series, tmp_path: Path, signed: int, tag: int) -> None:
    truth = TRUTH.hu.copy()
    truth[:, :3, :2] = -1000
    for d in series:
        pixels = np.frombuffer(d.PixelData, "<i2").reshape(12, 10).copy()
        pixels[:3, :2] = -2000
        d.PixelData = pixels.tobytes()
        d.PixelRepresentation = signed
        d.add_new("PixelPaddingValue", "SS" if signed else "US", tag)
    save_datasets(tmp_path, series)
    scan = read_series(tmp_path)
    assert_truth(scan, truth)
    assert scan.quality.padding_fraction == pytest.approx(6 / 120)
    if signed:
        assert scan.quality.raw_min == -3024


def test_padding_value_that_could_be_tissue_is_kept(series: Series, tmp_path: Path) -> None:
    for d in series:
        d.add_new("PixelPaddingValue", "SS", 1024 + 40)  # 40 HU
    save_datasets(tmp_path, series)
    assert_truth(read_series(tmp_path))


def test_values_are_clamped_to_twelve_bits(series: Series, tmp_path: Path) -> None:
    for d in series:
        pixels = np.frombuffer(d.PixelData, "<i2").copy()
        pixels[:2] = -2000, 30000
        d.PixelData = pixels.tobytes()
    save_datasets(tmp_path, series)
    scan = read_series(tmp_path)
    assert (scan.hu.min(), scan.hu.max()) == (-1024, 3071)
    assert (scan.quality.raw_min, scan.quality.raw_max) == (-3024, 28976)


ORIENTATIONS = {
    "prone": [-1, 0, 0, 0, -1, 0],
    "feet first": [-1, 0, 0, 0, 1, 0],
    "sagittal": [0, 1, 0, 0, 0, -1],
    "oblique": [np.cos(0.3), np.sin(0.3), 0, -np.sin(0.3), np.cos(0.3), 0],
}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_turned_patients_keep_every_voxel_in_place(
    series: Series, tmp_path: Path, name: str
) -> None:
    iop = [float(f"{v:.10f}") for v in ORIENTATIONS[name]]
    normal = np.cross(iop[:3], iop[3:])
    for k, d in enumerate(series):
        d.ImageOrientationPatient = iop
        d.ImagePositionPatient = [f"{v:.6f}" for v in np.array([5, -7, 11]) + k * DZ * normal]
    save_datasets(tmp_path, series)
    scan = read_series(tmp_path)
    np.testing.assert_array_equal(scan.hu, TRUTH.hu)
    assert scan.quality.axial is False
    place = np.array([5, -7, 11]) + 3 * 0.7 * np.array(iop[:3]) + 2 * 0.8 * np.array(iop[3:])
    place = place + 4 * DZ * normal
    np.testing.assert_allclose(scan.to_patient(np.array([3, 2, 4])), place, atol=1e-3)
    np.testing.assert_allclose(scan.to_index(place), [3, 2, 4], atol=1e-3)
    itk_place = scan.image().TransformIndexToPhysicalPoint((3, 2, 4))
    np.testing.assert_allclose(itk_place, place, atol=1e-3)


def wide_hole(series: Series) -> None:
    del series[20:23]


def tilted(series: Series) -> None:
    for k, d in enumerate(series):
        d.ImagePositionPatient = [-3.15, -4.4 + 0.5 * k, -60 + DZ * k]


def mixed_sizes(series: Series) -> None:
    series[5].Rows, series[5].Columns = 10, 12


def mixed_spacing(series: Series) -> None:
    series[5].PixelSpacing = [0.9, 0.9]


def mixed_orientation(series: Series) -> None:
    series[5].ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]


def mixed_frames(series: Series) -> None:
    series[5].FrameOfReferenceUID = "1.2.3"


def skewed_axes(series: Series) -> None:
    for d in series:
        d.ImageOrientationPatient = [1, 0, 0, 0.5, 1, 0]


def no_position(series: Series) -> None:
    del series[5].ImagePositionPatient


def no_slope(series: Series) -> None:
    del series[5].RescaleSlope


def cut_pixels(series: Series) -> None:
    series[5].PixelData = series[5].PixelData[:100]


def two_phases(series: Series) -> None:
    series += [twin(d, number=500 + k, add=90) for k, d in enumerate(series)]


def few(series: Series) -> None:
    del series[3:]


def positron(series: Series) -> None:
    for d in series:
        d.Modality = "PT"


def eight_bits(series: Series) -> None:
    for d in series:
        d.BitsAllocated = d.BitsStored = 8
        d.HighBit = 7


def zero_slope(series: Series) -> None:
    for d in series:
        d.RescaleSlope = "0"


def malformed(series: Series) -> None:
    series[5].PixelSpacing = [0, 0.7]


BAD_FILE = r"[0-9a-f]{16}\.dcm"
HOPELESS = [
    (wide_hole, r"missing slices: a gap of 10\.0 mm at -12\.5 mm along the stack"),
    (tilted, r"tilted or sheared: slices shift by 23\.5 mm in plane \(11\.3 degrees\)"),
    (mixed_sizes, rf"mixed image size: \(10, 12\) in {BAD_FILE}, \(12, 10\) in most files"),
    (mixed_spacing, rf"mixed pixel spacing: \[0\.9, 0\.9\] in {BAD_FILE}"),
    (mixed_orientation, rf"mixed image orientation: .* in {BAD_FILE}"),
    (mixed_frames, rf"mixed frame of reference: 1\.2\.3 in {BAD_FILE}"),
    (skewed_axes, "image orientation is not two perpendicular unit vectors"),
    (no_position, rf"{BAD_FILE} has no valid ImagePositionPatient"),
    (no_slope, rf"{BAD_FILE} has no valid RescaleSlope"),
    (zero_slope, rf"{BAD_FILE} has no valid RescaleSlope"),
    (malformed, rf"{BAD_FILE} has no valid PixelSpacing"),
    (cut_pixels, rf"{BAD_FILE} is truncated: 100 of 240 bytes of pixels"),
    (two_phases, "48 of 48 positions hold a second, different image"),
    (few, "only 3 slices, at least 4 are needed"),
    (positron, "not a CT volume: modality PT"),
    (eight_bits, rf"{BAD_FILE} has 8 bits per pixel, CT has 16"),
]


@pytest.mark.parametrize(("fault", "reason"), HOPELESS, ids=lambda v: getattr(v, "__name__", ""))
def test_excludes(
    series: Series, tmp_path: Path, fault: Callable[[Series], None], reason: str
) -> None:
    fault(series)
    save_datasets(tmp_path, series)
    with pytest.raises(Excluded) as caught:
        read_series(tmp_path)
    assert re.match(reason, caught.value.reason), caught.value.reason
    if fault is not positron:
        assert caught.value.quality is not None
        assert caught.value.quality.patient_id == "zoo"


@pytest.mark.parametrize("left", [1, 100, 131, 140, 400, 900, 1200])
def test_file_cut_short_anywhere_excludes_and_is_named(
    series: Series, tmp_path: Path, left: int
) -> None:
    save_datasets(tmp_path, series)
    victim = sorted(tmp_path.iterdir())[7]
    victim.write_bytes(victim.read_bytes()[:left])
    with pytest.raises(Excluded, match=victim.name):
        read_series(tmp_path)


def test_garbage_excludes_and_is_named(series: Series, tmp_path: Path) -> None:
    save_datasets(tmp_path, series)
    noise = np.random.default_rng(0).bytes(3000)
    (tmp_path / "bad.dcm").write_bytes(bytes(128) + b"DICM" + noise)
    with pytest.raises(Excluded, match=r"bad\.dcm cannot be read as DICOM"):
        read_series(tmp_path)


def test_neighbours_of_other_kinds_are_ignored(series: Series, tmp_path: Path) -> None:
    scout, chest = copy.deepcopy(series[4]), copy.deepcopy(series[5])
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.SOPInstanceUID = "1.2.3.4"
    chest.Modality, chest.SeriesInstanceUID, chest.SOPInstanceUID = "CR", "1.2.9", "1.2.3.5"
    save_datasets(tmp_path, [*series, scout, chest])
    (tmp_path / "README.txt").write_text("not an image")
    (tmp_path / ".DS_Store").write_bytes(b"\0\0")
    scan = read_series(tmp_path)
    assert_truth(scan)
    assert (scan.quality.n_files, scan.quality.n_ignored) == (N_SLICES, 3)


def test_two_series_need_a_choice(series: Series, tmp_path: Path) -> None:
    other = Volume(TRUTH.hu[:9], TRUTH.spacing_mm, TRUTH.origin_mm)
    first = save_datasets(tmp_path, series)
    second = write_series(tmp_path, other, patient_id="zoo", series_number=2)
    with pytest.raises(UserError, match=r"holds 2 CT series; choose one with --series UID") as said:
        read_series(tmp_path)
    assert first in str(said.value)
    assert second in str(said.value)
    assert_truth(read_series(tmp_path, first))
    assert_truth(read_series(tmp_path, second), other.hu)
    with pytest.raises(UserError, match=r"does not hold series 9\.9"):
        read_series(tmp_path, "9.9")


def test_folders_without_dicom_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        read_series(tmp_path / "missing")
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(UserError, match="holds no DICOM files"):
        read_series(tmp_path)


def test_inputs_are_never_touched(series: Series, tmp_path: Path) -> None:
    hole(series)
    save_datasets(tmp_path, series)

    def fingerprint() -> dict[str, str]:
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in tmp_path.iterdir()}

    before = fingerprint()
    read_series(tmp_path)
    assert fingerprint() == before


def test_malformed_side_facts_do_not_matter(series: Series, tmp_path: Path) -> None:
    for d in series:
        del d.InstanceNumber, d.PatientID
        d.ConvolutionKernel = ["I70f", "3"]
    save_datasets(tmp_path, series)
    for path in tmp_path.iterdir():  # a thickness that pydicom would refuse to write
        path.write_bytes(path.read_bytes().replace(b"DS\x04\x002.5 ", b"DS\x04\x00thin"))
    scan = read_series(tmp_path)
    assert_truth(scan)
    assert (scan.quality.kernel, scan.quality.patient_id) == ("I70f\\3", "")
    assert scan.quality.slice_thickness is None


def test_compressed_pixels_are_read(series: Series, tmp_path: Path) -> None:
    for d in series:
        d.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    save_datasets(tmp_path, series)
    assert_truth(read_series(tmp_path))


def test_image_files_are_read_and_checked(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(TRUTH.hu.astype(np.float32) - 100)
    image.SetSpacing((0.7, 0.8, DZ))
    for name in ("v.mha", "v.nii.gz", "v.nrrd"):
        sitk.WriteImage(image, str(tmp_path / name))
        scan = read_image(tmp_path / name)
        np.testing.assert_array_equal(scan.hu, np.maximum(TRUTH.hu - 100, -1024))
        np.testing.assert_allclose(scan.spacing_xyz, (0.7, 0.8, DZ), atol=1e-6)
    sitk.WriteImage(sitk.Cast(image * 0 + 7, sitk.sitkUInt8), str(tmp_path / "grey.mha"))
    with pytest.raises(Excluded, match="values from 7 to 7, which are no CT in HU"):
        check_hu(read_image(tmp_path / "grey.mha").hu)
    sitk.WriteImage(image[:, :, 0], str(tmp_path / "flat.mha"))
    (tmp_path / "text.mha").write_text("no image")
    for name in ("flat.mha", "text.mha", "missing.mha"):
        with pytest.raises(UserError, match=name):
            read_image(tmp_path / name)
