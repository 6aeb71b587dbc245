"""From raw shards to the packed store: phantoms, quality rows, split by patient, pooling."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prdit.config import Grid, Phantom, Split, Window
from prdit.data import ledger, preprocess, store
from prdit.data.quality import QualityRow, read_rows, voxels_sha256, write_rows
from prdit.data.sources import idc, phantoms
from prdit.data.sources.verified import RawScan, check_unchanged, read_verified, write_verified
from prdit.data.volume import Volume, write_nifti
from prdit.errors import UserError
from prdit.files import read_csv
from prdit.recipes import LedgerRecipe, PackRecipe, PhantomRecipe, PreprocessRecipe

SOURCE = Phantom(kind="phantom", count=4, voxel_mm=8.0, seed=0)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantoms, preprocessed: the folder that holds raw/ and volumes/."""
    folder = tmp_path_factory.mktemp("shard")
    verified = folder / "raw" / "verified.json"
    phantoms.run(PhantomRecipe(source=SOURCE, first=1, count=2), verified=verified)
    quality = folder / "volumes" / "quality.csv"
    recipe = PreprocessRecipe(grid=Grid(size=32, spacing_mm=8.0), array=None)
    preprocess.run(recipe, verified=verified, quality=quality)
    return folder


def test_phantoms_become_volumes_with_rows(shard: Path) -> None:
    series = {scan.scan_id: scan for scan, _ in read_verified(shard / "raw" / "verified.json")}
    names = sorted(scan.path.name for scan in series.values())
    assert names == ["PHANTOM-0-0001", "PHANTOM-0-0002"]
    rows = read_rows(shard / "volumes" / "quality.csv")
    assert {row.series_uid for row in rows} == set(series)
    for row in rows:
        assert row.status == "ok"
        assert row.patient_id.startswith("PHANTOM-0-000")
        assert 2000 < (row.lung_ml or 0) < 6000
        assert (shard / "volumes" / f"{row.series_uid}.nii.gz").is_file()


def test_a_shard_is_the_same_wherever_it_is_made(shard: Path, tmp_path: Path) -> None:
    verified = tmp_path / "verified.json"
    phantoms.run(PhantomRecipe(source=SOURCE, first=1, count=2), verified=verified)
    for path in (shard / "raw").rglob("*.dcm"):
        assert (tmp_path / path.relative_to(shard / "raw")).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("change", ["unlink", "flip", "add"])
def test_a_scan_that_has_changed_since_is_told(tmp_path: Path, change: str) -> None:
    (tmp_path / "series").mkdir()
    for name in "ab":
        (tmp_path / "series" / f"{name}.dcm").write_text(name)
    write_verified(tmp_path / "verified.json", [RawScan("1.2.3", tmp_path / "series", "P")])
    ((scan, content),) = read_verified(tmp_path / "verified.json")
    assert scan == RawScan("1.2.3", tmp_path / "series", "P")
    check_unchanged(scan, content)
    victim = tmp_path / "series" / "a.dcm"
    match change:
        case "unlink":
            victim.unlink()
        case "flip":
            victim.write_text("c")
        case "add":
            (tmp_path / "series" / "c.dcm").write_text("c")
    with pytest.raises(UserError, match=r"is not what it was when it was verified .*; delete the"):
        check_unchanged(scan, content)


def test_one_id_for_two_scans_is_told(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    scans = [RawScan("1.2", tmp_path / name) for name in "ab"]
    with pytest.raises(UserError, match=r"scan 1.2 is there twice, in a and in b; put all"):
        write_verified(tmp_path / "verified.json", scans)


@pytest.mark.parametrize("text", ["{}", "[]", "", "{", '{"scans": 3}', '{"scans": {"1.2": {}}}'])
def test_a_damaged_list_of_series_is_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "verified.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"^cannot use .*verified.json: .*; delete it and run"):
        read_verified(path)


@pytest.mark.parametrize("content", [b"", b"\x89PNG", b"series_uid\n1.2\n"])
def test_a_damaged_quality_table_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "quality.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"^cannot use .*quality.csv: .*; delete it and run"):
        read_rows(path)


def test_a_shard_that_lost_rows_is_told(tmp_path: Path) -> None:
    shards = make_collection(tmp_path, ["A", "B", "C", "D"])
    write_rows(shards[0], [])
    recipe = LedgerRecipe(series=4, split=Split(held_out=0.4), max_excluded=1)
    with pytest.raises(UserError, match=r"the shards tell of 2 series, not of all 4; delete"):
        ledger.run(recipe, shards=shards, **ledger_paths(tmp_path))
    assert not (tmp_path / "split.csv").exists()


def test_a_volume_that_was_exchanged_is_told(tmp_path: Path) -> None:
    split = make_split(tmp_path, ["A", "B", "C", "D"])
    shutil.copy(tmp_path / "000" / "1.2.nii.gz", tmp_path / "000" / "1.0.nii.gz")
    paths = {"array": tmp_path / "8.npy", "index": tmp_path / "8.json"}
    with pytest.raises(UserError, match=r"000/quality.csv: 1.0.nii.gz has changed since; delete"):
        store.run(PackRecipe(size=8, window=Window()), split=split, **paths)
    assert not paths["array"].exists()


def make_collection(folder: Path, patients: list[str], size: int = 16) -> list[Path]:
    """Quality rows in two shards and a volume for each; series i has all voxels at 10 i HU."""
    shards = []
    for number in (0, 1):
        path = folder / f"{number:03d}" / "quality.csv"
        path.parent.mkdir(parents=True)
        rows = []
        for i, patient in list(enumerate(patients))[number::2]:
            hu = np.full((size,) * 3, 10 * i, np.int16)
            write_nifti(path.parent / f"1.{i}.nii.gz", Volume(hu, (2.0, 2.0, 2.0)))
            digest = voxels_sha256(hu)
            rows.append(
                QualityRow(series_uid=f"1.{i}", patient_id=patient, status="ok", sha256=digest)
            )
        write_rows(path, rows)
        shards.append(path)
    return shards


def make_split(folder: Path, patients: list[str], held_out: float = 0.25) -> Path:
    recipe = LedgerRecipe(
        series=len(patients), split=Split(held_out=held_out, seed=0), max_excluded=0
    )
    shards = make_collection(folder, patients)
    ledger.run(recipe, shards=shards, **ledger_paths(folder))
    return folder / "split.csv"


def ledger_paths(folder: Path) -> dict[str, Path]:
    names = {"ledger": "quality.csv", "split": "split.csv", "summary": "summary.json"}
    return {key: folder / name for key, name in names.items()}


def test_patients_are_split_not_series(tmp_path: Path) -> None:
    patients = [f"P{i // 2}" for i in range(8)]
    with make_split(tmp_path, patients).open() as file:
        rows = list(csv.DictReader(file))
    parts = {p: {r["part"] for r in rows if r["patient_id"] == p} for p in set(patients)}
    assert all(len(found) == 1 for found in parts.values())
    assert sum(found == {"held-out"} for found in parts.values()) == 1
    assert len(read_rows(tmp_path / "quality.csv")) == 8


@given(st.permutations([f"P{i}" for i in range(12)]), st.integers(0, 5))
def test_the_split_does_not_depend_on_the_order(patients: list[str], seed: int) -> None:
    found = ledger.held_out_patients(set(patients), 0.25, seed)
    assert found == ledger.held_out_patients({f"P{i}" for i in range(12)}, 0.25, seed)
    assert len(found) == 3


def test_excluded_series_stay_in_the_ledger_and_leave_the_split(tmp_path: Path) -> None:
    shards = make_collection(tmp_path, ["A", "B", "C", "D"])
    rows = read_rows(shards[0])
    write_rows(shards[0], [replace(rows[0], status="excluded", reason="broken"), *rows[1:]])
    paths = ledger_paths(tmp_path)
    recipe = LedgerRecipe(series=4, split=Split(held_out=0.4), max_excluded=1)
    ledger.run(recipe, shards=shards, **paths)
    summary = json.loads(paths["summary"].read_text())
    assert [summary[key] for key in ("series", "ok", "fixed", "excluded")] == [4, 3, 0, 1]
    assert sum(summary["parts"].values()) == 3
    with pytest.raises(UserError, match=r"1 of 4 series .* \(0\) allows: 1.0: broken"):
        ledger.run(recipe.model_copy(update={"max_excluded": 0}), shards=shards, **paths)
    with pytest.raises(UserError, match=r"1 of 4 series are excluded, .* \(0.24\) allows"):
        ledger.run(recipe.model_copy(update={"max_excluded": 0.24}), shards=shards, **paths)
    assert len(read_rows(paths["ledger"])) == 4
    assert "1.0" not in [line.split(",")[0] for line in paths["split"].read_text().splitlines()]


def test_one_series_in_two_shards_is_told(tmp_path: Path) -> None:
    shards = make_collection(tmp_path, ["A", "B", "C", "D"])
    row = replace(read_rows(shards[0])[0], path="x")
    write_rows(shards[0], [row])
    write_rows(shards[1], [*read_rows(shards[1]), row])
    recipe = LedgerRecipe(series=None, split=Split(held_out=0.4), max_excluded=0)
    with pytest.raises(UserError, match=r"series 1.0 is there twice, in x and in x; put"):
        ledger.run(recipe, shards=shards, **ledger_paths(tmp_path))


def test_the_cohort_tells_scans_patients_and_sides_apart() -> None:
    row = {"series_uid": "1", "patient_id": "A", "part": "train", "file": "x", "sha256": "s"}
    other = {**row, "series_uid": "2"}
    base = ledger.cohort([row, other])
    assert base == ledger.cohort([other, {**row, "file": "elsewhere"}])
    for key in ("series_uid", "patient_id", "part", "sha256"):
        assert ledger.cohort([{**row, key: "y"}, other]) != base


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"lung_ml": 4000.0, "lung_kept": 0.95}, ""),
        ({"lung_ml": 400.0, "lung_kept": 1.0}, "400 ml of lung in the cube"),
        ({"lung_ml": 4000.0, "lung_kept": 0.8}, "80 % of the lungs in the cube"),
    ],
)
def test_odd_scans_are_pointed_at(facts: dict[str, float], said: str) -> None:
    assert ledger.odd(QualityRow(status="ok", **facts)) == said


def test_too_few_patients_to_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"of 2 usable patients 0 would be held out"):
        make_split(tmp_path, ["A", "B"], held_out=0.1)


def test_packing_windows_then_pools(tmp_path: Path) -> None:
    split = make_split(tmp_path, ["A", "B", "C", "D"])
    array = tmp_path / "8.npy"
    recipe = PackRecipe(size=8, window=Window(low=-20, high=20))
    store.run(recipe, split=split, array=array, index=tmp_path / "8.json")
    found = store.open_store(array)
    assert found.series == ["1.0", "1.1", "1.2", "1.3"]
    assert found.spacing_mm == 4.0
    assert [found.volume(i).mean() for i in range(4)] == pytest.approx([0, 0.5, 1, 1], abs=1e-4)
    assert sorted({*found.parts}) == ["held-out", "train"]


def test_a_store_that_was_damaged_is_refused(tmp_path: Path) -> None:
    split = make_split(tmp_path, ["A", "B", "C", "D"])
    array = tmp_path / "8.npy"
    recipe = PackRecipe(size=8, window=Window())
    store.run(recipe, split=split, array=array, index=tmp_path / "8.json")
    array.write_bytes(array.read_bytes()[:-100] + bytes(100))
    with pytest.raises(UserError, match=r"8.npy: it is not what its .json tells of; delete it"):
        store.open_store(array)


def test_each_volume_has_its_own_window_where_the_released_code_is_followed() -> None:
    hu = np.linspace(-1200, 800, 512).reshape(8, 8, 8).astype(np.int16)
    window = Window(low=-1000, high=1000, quantile=0.5)
    v, high = store.windowed(hu, window)
    assert high == pytest.approx(np.quantile(np.maximum(hu, -1000), 0.5))
    assert (v.min(), v.max()) == (-1, 1)
    assert store.windowed(hu, Window())[1] == 400


def test_the_shipped_manifest_is_the_whole_collection() -> None:
    series = idc.read_manifest(Path(__file__).resolve().parents[1] / "config" / "lidc_idri.csv")
    assert len(series) == len({one.series_uid for one in series}) == 1018
    assert len({one.patient_id for one in series}) == 1010
    assert sum(one.bytes for one in series) == 128_405_916_114


def test_a_patient_with_an_umlaut_is_written_in_any_locale(tmp_path: Path) -> None:
    """PatientID may hold what Latin-1 does, and a cluster's locale may be C."""
    code = (
        "from pathlib import Path; from prdit.files import write_csv;"
        " write_csv(Path('t.csv'), ['series_uid', 'patient_id'],"
        " [['1', 'M\\xfcller'], ['2', None]])"
    )
    there = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    there["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=there, check=True)
    assert (tmp_path / "t.csv").read_bytes() == "series_uid,patient_id\n1,Müller\n2,\n".encode()
    assert read_csv(tmp_path / "t.csv", ["series_uid", "patient_id"])[0]["patient_id"] == "Müller"
