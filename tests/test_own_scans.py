"""A user's own scans: folders of DICOM, image files and bare arrays, through the same workflow."""

from __future__ import annotations

import gzip
import json
import shutil
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from test_workflow import MICRO, planned, run

from prdit.config import Array, Grid, Nifti, Phantom
from prdit.config.data import PRESETS, Dataset
from prdit.data import preprocess
from prdit.data.arrays import read_array
from prdit.data.ledger import cohort, without_twins
from prdit.data.phantom.dicom_writer import save_datasets, series_datasets, write_series
from prdit.data.phantom.thorax import thorax
from prdit.data.preprocess import preprocess_series
from prdit.data.quality import Excluded, QualityRow, read_rows
from prdit.data.sources import folder, listing, phantoms
from prdit.data.sources.verified import RawScan, read_verified, write_verified
from prdit.data.volume import Volume, write_nifti
from prdit.errors import UserError
from prdit.files import read_csv
from prdit.recipes import FolderRecipe, PhantomRecipe, PreprocessRecipe

SHAPE, SPACING = (30, 34, 34), (12.0, 12.0, 12.0)
GRID = Grid(size=24, spacing_mm=12.0)


def chest(index: int) -> Volume:
    return thorax(3, index, SPACING, SHAPE)


# Bare arrays, as RAD-ChestCT has them


def test_a_rad_like_scan_is_the_same_chest_as_its_dicom_series(tmp_path: Path) -> None:
    """z runs from the head to the feet in the file, and from the feet to the head in the volume."""
    volume = chest(0)
    clipped = np.clip(volume.hu, -1000, 1000)
    np.savez_compressed(tmp_path / "trn00001.npz", ct=clipped[::-1])
    write_series(tmp_path / "dicom", Volume(clipped, SPACING), patient_id="P")
    from_array, row = preprocess_series(
        tmp_path / "trn00001.npz", GRID, array=Array(spacing_mm=12.0)
    )
    from_dicom, other = preprocess_series(tmp_path / "dicom", GRID)
    assert from_array is not None
    assert from_dicom is not None
    np.testing.assert_array_equal(from_array.hu, from_dicom.hu)
    assert (row.status, row.lung_ml, row.sha256) == ("ok", other.lung_ml, other.sha256)
    scan = read_array(tmp_path / "trn00001.npz", Array(spacing_mm=12.0))
    liver = scan.hu[: SHAPE[0] // 3].mean()  # more tissue below than above
    assert liver > scan.hu[-SHAPE[0] // 3 :].mean()


def test_conventions_of_other_arrays_are_settings(tmp_path: Path) -> None:
    hu = np.random.default_rng(0).integers(-1000, 500, (6, 8, 10)).astype(np.float32)
    np.savez(tmp_path / "a.npz", volume=hu)
    array = Array(key="volume", spacing_mm=(2.0, 0.5, 0.7), head_first=False)
    scan = read_array(tmp_path / "a.npz", array)
    np.testing.assert_array_equal(scan.hu, hu)
    assert scan.spacing_xyz == (0.7, 0.5, 2.0)


def liar(path: Path) -> None:
    """A header that claims more than the file holds."""
    header = b"{'descr': '<i2', 'fortran_order': False, 'shape': (900, 900, 900), }"
    padded = header + b" " * (117 - len(header)) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + bytes(1000)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ct.npy", content)


def flipped(path: Path) -> None:
    np.savez(path, ct=np.full((8, 8, 8), -1000, np.int16))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


AIR = np.full((8, 8, 8), -1000, np.int16)
WRONG = {
    "no array 'ct' in the file; it has other": lambda p: np.savez(p, other=AIR),
    "an array of int16 with shape (8, 8); a CT is": lambda p: np.savez(p, ct=AIR[0]),
    "an array of object": lambda p: np.savez(p, ct=np.array([[[None]]])),
    "an array of <U3": lambda p: np.savez(p, ct=np.array([[["abc"]]])),
    "values that are not finite": lambda p: np.savez(p, ct=np.full((8, 8, 8), np.nan)),
    "only 2 voxels along an axis": lambda p: np.savez(p, ct=AIR[:2]),
    "claims shape (900, 900, 900)": liar,
    "cannot be read as .npz (Bad CRC-32": flipped,
    "cannot be read as .npz (File is not a zip": lambda p: p.write_bytes(b"\x80\x04pickle"),
}


@pytest.mark.parametrize("said", WRONG)
def test_what_is_no_scan_is_excluded_with_a_reason(said: str, tmp_path: Path) -> None:
    WRONG[said](tmp_path / "a.npz")
    with pytest.raises(Excluded) as caught:
        read_array(tmp_path / "a.npz", Array())
    assert said in caught.value.reason


def test_rad_like_phantoms_share_patients(tmp_path: Path) -> None:
    source = Phantom(kind="phantom", format="npz", count=6, voxel_mm=12.0)
    verified = tmp_path / "verified.json"
    phantoms.run(PhantomRecipe(source=source, first=1, count=3), verified=verified)
    scans = [scan for scan, _ in read_verified(verified)]
    assert [scan.scan_id for scan in scans] == ["trn00001", "trn00002", "trn00003"]
    assert [scan.patient_id for scan in scans] == ["MRN00000", "MRN00001", "MRN00001"]
    rows = read_csv(tmp_path / "CT_Scan_Metadata_Complete_35747.csv", ["NoteAcc_DEID", "MRN_DEID"])
    assert rows[0] == {"NoteAcc_DEID": "trn00001.npz", "MRN_DEID": "MRN00000"}
    with np.load(scans[0].path) as file:
        assert file["ct"].dtype == np.int16
        assert (file["ct"].min(), file["ct"].max() <= 1000) == (-1000, True)


# What a folder holds


def test_a_folder_is_listed_in_any_depth_and_through_links(tmp_path: Path) -> None:
    for name in ("b/2.nii.gz", "b/c/1.nii", "a.mha", "b/notes.txt", ".hidden/3.nii", "b/.4.nii"):
        (tmp_path / "scans" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "scans" / name).touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/5.nrrd").touch()
    (tmp_path / "scans/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "scans/b/circle").symlink_to(tmp_path / "scans")
    found = ["a.mha", "b/2.nii.gz", "b/c/1.nii", "link/5.nrrd"]
    assert listing.units(tmp_path / "scans", "nifti") == found
    assert listing.units(tmp_path / "scans", "dicom") == [".", "b", "b/c", "link"]
    with pytest.raises(UserError, match=r"holds no .npz files, so no scans to take"):
        listing.units(tmp_path / "scans", "npz")
    with pytest.raises(UserError, match="there is no folder"):
        listing.units(tmp_path / "nowhere", "npz")


def test_an_id_that_could_leave_the_folder_is_excluded(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz", chest(0))
    scans = [RawScan("../../escaped", tmp_path / "a.nii.gz", "P")]
    write_verified(tmp_path / "raw/verified.json", scans)
    quality = tmp_path / "deep/down/quality.csv"
    recipe = PreprocessRecipe(grid=GRID, array=None)
    preprocess.run(recipe, verified=tmp_path / "raw/verified.json", quality=quality)
    (row,) = read_rows(quality)
    assert (row.status, row.patient_id) == ("excluded", "P")
    assert row.reason == "its id holds characters that the name of a file should not"
    assert not list(tmp_path.rglob("escaped*"))


# The workflow on a user's own scans


def configure(folder: Path, source: dict[str, object], **about: object) -> None:
    chests = {"label": "Own", "source": source, "grid": {"size": 16, "spacing_mm": 16.0}}
    config = {**MICRO, "datasets": {"chests": {**chests, **about}}}
    (folder / "micro.yaml").write_text(yaml.safe_dump(config))


STORE, PAGE = "results/micro/volumes/chests/8.npy", "results/micro/quality/chests"
QUALITY = "results/micro/volumes/chests/quality.csv"


def test_folders_of_dicom(workflow_copy: Path) -> None:
    """Two series in one folder, one beside a broken file, one tilted: and the page tells it all."""
    own = workflow_copy / "own"
    for index in range(2):
        write_series(own / "mixed", chest(index), patient_id=f"P{index}")
    for index in range(2, 5):
        write_series(own / f"deep/P{index}", chest(index), patient_id=f"P{index}")
    tilted = list(series_datasets(chest(5), patient_id="<b>tilted</b>"))
    for k, dataset in enumerate(tilted):
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, float(y) + k, z]
    save_datasets(own / "tilted", tilted)
    (own / "broken").mkdir()
    (own / "broken/1.dcm").write_bytes(b"nothing")
    (own / "README").write_text("not DICOM")
    before = {path: path.read_bytes() for path in sorted(own.rglob("*")) if path.is_file()}
    configure(workflow_copy, {"kind": "dicom", "folder": "own", "series_per_job": 3})
    done = run(workflow_copy, STORE)
    assert done.returncode != 0
    assert "2 of 7 series are excluded, more than max_excluded (0.05) allows" in done.stdout
    source = {"kind": "dicom", "folder": "own", "series_per_job": 3}
    configure(workflow_copy, source, max_excluded=2, split={"held_out": 1})
    done = run(workflow_copy, STORE, PAGE)
    assert done.returncode == 0, done.stdout
    rows = {row.patient_id: row for row in read_rows(workflow_copy / QUALITY)}
    assert {f"P{i}" for i in range(5)} <= set(rows)
    assert [rows[f"P{i}"].status for i in range(5)] == ["ok"] * 5
    assert rows["broken"].reason == "1.dcm cannot be read as DICOM"
    assert rows["<b>tilted</b>"].reason.startswith("tilted or sheared")
    page = (workflow_copy / PAGE / "index.html").read_text()
    assert "7 series = 5 ok + 0 fixed" in page
    assert "&lt;b&gt;tilted&lt;/b&gt;" in page
    assert "<b>tilted" not in page
    summary = json.loads((workflow_copy / QUALITY).with_name("summary.json").read_text())
    index = json.loads((workflow_copy / STORE).with_suffix(".json").read_text())
    split = read_csv(
        (workflow_copy / QUALITY).with_name("split.csv"),
        ["series_uid", "patient_id", "part", "file", "sha256"],
    )
    assert summary["cohort"] == index["cohort"] == cohort(split)
    assert {p: p.read_bytes() for p in sorted(own.rglob("*")) if p.is_file()} == before

    assert planned_data(workflow_copy) == set()
    write_series(own / "deep/P6", chest(6), patient_id="P6")
    assert {"look_through", "preprocess", "ledger"} <= planned_data(workflow_copy)


def planned_data(folder: Path) -> set[str]:
    wanted = {"look_through", "preprocess", "ledger", "pack", "quality"}
    return planned(folder) & wanted


@pytest.mark.parametrize("kind", ["nifti", "npz"])
def test_files_with_a_table_of_patients(kind: str, workflow_copy: Path) -> None:
    own = workflow_copy / "own"
    own.mkdir()
    lines = ["scan,patient"]
    for index in range(6):
        lines.append(f"scan{index}.{'nii.gz' if kind == 'nifti' else 'npz'},P{index // 2}")
        if kind == "nifti":
            write_nifti(own / f"scan{index}.nii.gz", chest(index))
        else:
            np.savez(own / f"scan{index}.npz", ct=chest(index).hu[::-1])
    table = workflow_copy / "patients.csv"
    table.write_text("\n".join(lines[:-1]))
    source = {"kind": kind, "folder": "own", "patients": {"file": "patients.csv"}}
    source |= {"array": {"spacing_mm": 12.0}} if kind == "npz" else {}
    configure(workflow_copy, source, split={"held_out": 1})
    done = run(workflow_copy, STORE)
    assert done.returncode != 0
    assert "scan scan5 has no patient in patients.csv; add it" in done.stdout
    table.write_text("\n".join(lines))
    done = run(workflow_copy, STORE)
    assert done.returncode == 0, done.stdout
    about = json.loads((workflow_copy / STORE).with_suffix(".json").read_text())
    assert about["series"] == [f"scan{i}" for i in range(6)]
    assert about["parts"].count("held-out") == 2
    parts = about["parts"]
    assert all(parts[i] == parts[i + 1] for i in (0, 2, 4))


def test_real_scans_make_a_data_set(real_ct: Path, workflow_copy: Path) -> None:
    """Two real patients, where they lie: through to the store and the page."""
    configure(workflow_copy, {"kind": "dicom", "folder": str(real_ct)}, split={"held_out": 1})
    done = run(workflow_copy, STORE, PAGE)
    assert done.returncode == 0, done.stdout
    rows = read_rows(workflow_copy / QUALITY)
    assert [row.status for row in rows] == ["ok", "ok"]
    assert all(2000 < (row.lung_ml or 0) < 7000 for row in rows)
    assert (workflow_copy / PAGE / "sheet_00.png").stat().st_size > 2000


# Values, and what is the same


@pytest.mark.parametrize(("low", "high"), [(0, 1000), (-1024, -900)])
def test_values_that_are_no_ct_are_excluded_whatever_the_format(
    low: int, high: int, tmp_path: Path
) -> None:
    hu = np.random.default_rng(0).integers(low, high, (8, 8, 8)).astype(np.int16)
    write_series(tmp_path / "dicom", Volume(hu, SPACING), patient_id="P")
    write_nifti(tmp_path / "a.nii.gz", Volume(hu, SPACING))
    np.savez(tmp_path / "a.npz", ct=hu)
    for source, array in (("dicom", None), ("a.nii.gz", None), ("a.npz", Array())):
        volume, row = preprocess_series(tmp_path / source, GRID, array=array)
        assert volume is None
        assert "which are no CT in HU" in row.reason


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII"])
def test_a_nifti_that_is_cut_short_or_not_finite_is_excluded(suffix: str, tmp_path: Path) -> None:
    whole = tmp_path / f"whole{suffix.lower()}"
    write_nifti(whole, chest(0))
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    _, row = preprocess.preprocess_scan(RawScan("cut", cut), GRID)
    assert row.status == "excluded"
    values = chest(0).hu.astype(np.float32)
    values[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "nan.nii")
    named = tmp_path / f"named{suffix}"
    content = (tmp_path / "nan.nii").read_bytes()
    named.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    _, row = preprocess.preprocess_scan(RawScan("nan", named), GRID)
    assert row.status == "excluded"


def test_a_series_of_two_patients_is_excluded(tmp_path: Path) -> None:
    slices = list(series_datasets(chest(0), patient_id=" A "))
    save_datasets(tmp_path / "same", slices)
    assert preprocess_series(tmp_path / "same", GRID)[1].patient_id == "A"
    slices[3].PatientID = "B"
    save_datasets(tmp_path / "mixed", slices)
    assert preprocess_series(tmp_path / "mixed", GRID)[1].reason == "mixed patients: A, B"


def test_of_equal_volumes_one_is_used() -> None:
    rows = [QualityRow(str(i), sha256=s, status="ok") for i, s in enumerate("aba")]
    found = without_twins(rows)
    assert [row.status for row in found] == ["ok", "ok", "excluded"]
    assert found[2].reason == "the same voxels as series 0"


# Names


def test_names_of_any_script_stay_apart(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    names = ["患者一", "患者二", "a b", "a_b", "-y", "x" * 200]
    names = [f"{name}.nii.gz" for name in names]
    for index, name in enumerate(names):
        write_nifti(own / name, chest(index))
    source = Nifti(kind="nifti", folder=str(own))
    recipe = FolderRecipe(source=source, units=sorted(names), listing_sha256="")
    folder.run(recipe, verified=tmp_path / "verified.json")
    ids = [scan.scan_id for scan, _ in read_verified(tmp_path / "verified.json")]
    assert len(set(ids)) == len(names)
    assert {"患者一", "患者二", "a_b"} <= set(ids)
    for name in ids:
        assert preprocess._NAME.fullmatch(name)
        assert len(name) < 80


def test_what_cannot_be_seen_is_told(tmp_path: Path) -> None:
    (tmp_path / "dead.nii.gz").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"cannot see .*dead.nii.gz: No such file"):
        listing.stamp(tmp_path / "dead.nii.gz")
    with pytest.raises(UserError, match=r"cannot look into x: no; scans in it would be lost"):
        listing._unreadable(OSError(13, "no", "x"))


def test_results_are_no_scans(workflow_copy: Path) -> None:
    (workflow_copy / "a.nii.gz").touch()
    configure(workflow_copy, {"kind": "nifti", "folder": "."})
    done = run(workflow_copy, STORE)
    assert done.returncode != 0
    assert "contains results/, whose volumes would be taken for scans" in done.stdout


def test_a_page_needs_no_models(workflow_copy: Path) -> None:
    """A config of five lines; scans that are taken away leave no volume behind."""
    for index in range(4):
        write_series(workflow_copy / f"own/{index}", chest(index), patient_id=f"P{index}")
    chests = {"label": "Own", "source": {"kind": "dicom", "folder": "own"}}
    chests |= {"grid": {"size": 16, "spacing_mm": 16.0}, "split": {"held_out": 1}}
    config = {"name": "micro", "datasets": {"chests": chests}}
    (workflow_copy / "micro.yaml").write_text(yaml.safe_dump(config))
    done = run(workflow_copy)
    assert done.returncode == 0, done.stdout
    page = (workflow_copy / PAGE / "index.html").read_text()
    assert "4 series = 4 ok" in page
    assert 'href="../../volumes/chests/quality.csv"' in page
    assert len(list(workflow_copy.rglob("volumes/**/*.nii.gz"))) == 4
    shutil.rmtree(workflow_copy / "own/3")
    assert run(workflow_copy).returncode == 0
    assert len(list(workflow_copy.rglob("volumes/**/*.nii.gz"))) == 3


# Crop and window


def test_the_cube_can_be_cut_around_the_lungs(tmp_path: Path) -> None:
    """A chest with half a metre of air above: its lungs lie far below the middle of the scan."""
    volume = thorax(3, 0, (8.0, 8.0, 8.0), (44, 50, 50))
    tall = np.concatenate([volume.hu, np.full((60, 50, 50), -1000, np.int16)])
    write_series(tmp_path, Volume(tall, (8.0, 8.0, 8.0)), patient_id="P")
    centred, lost = preprocess_series(tmp_path, Grid(size=32, spacing_mm=8.0))
    aimed, kept = preprocess_series(tmp_path, Grid(size=32, spacing_mm=8.0, crop="lung_bbox"))
    assert centred is not None
    assert aimed is not None
    assert (lost.lung_kept or 0) < 0.7
    assert kept.lung_kept == 1
    assert kept.status == "ok"
    assert (kept.lung_ml or 0) > 2 * (lost.lung_ml or 0)


def test_a_scan_without_lungs_is_cut_around_its_middle_and_says_so(tmp_path: Path) -> None:
    hu = np.full((20, 20, 20), -1000, np.int16)
    hu[5:15, 5:15, 5:15] = 40
    write_series(tmp_path, Volume(hu, (8.0, 8.0, 8.0)), patient_id="P")
    _, row = preprocess_series(tmp_path, Grid(size=16, spacing_mm=8.0, crop="lung_bbox"))
    assert row.flags == "no lung found: the cube is cut around the middle of the scan"


def test_windows_have_names() -> None:
    source = {"kind": "phantom"}
    for name, window in PRESETS.items():
        assert Dataset.model_validate({"label": "x", "source": source, "window": name}).window == (
            window
        )
    with pytest.raises(ValueError, match="there is no window 'lung'; known are: default, radiol"):
        Dataset.model_validate({"label": "x", "source": source, "window": "lung"})


def test_what_is_moved_with_its_results_stays_valid(tmp_path: Path) -> None:
    """Paths within the results are told as seen from there."""
    scans = [RawScan("1.2", tmp_path / "raw/000/1.2")]
    (tmp_path / "raw/000/1.2").mkdir(parents=True)
    (tmp_path / "raw/000/1.2/a.dcm").write_bytes(b"x")
    write_verified(tmp_path / "raw/000/verified.json", scans)
    shutil.move(tmp_path / "raw", tmp_path / "elsewhere")
    ((scan, _),) = read_verified(tmp_path / "elsewhere/000/verified.json")
    assert (scan.path / "a.dcm").is_file()
