"""Sentences about scans, their sources and volumes, read aloud: those that no other test hears."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import requests
import stepping
from pydicom import Dataset
from pydicom.uid import JPEGLSLossless

from prdit import shards
from prdit.config import Array, Grid, Nifti, Split, Window
from prdit.config.data import ImagingDataCommons
from prdit.config.file import load_file
from prdit.critic.pairs import drawn
from prdit.data.arrays import read_array
from prdit.data.dicom import read_series, series_in
from prdit.data.ledger import run as join
from prdit.data.phantom.dicom_writer import save_datasets, series_datasets
from prdit.data.preprocess import preprocess_series
from prdit.data.quality import Excluded, QualityRow, voxels_sha256, write_rows
from prdit.data.scan import read_image
from prdit.data.sources import folder, idc, record_list, record_scans
from prdit.data.sources.listing import stamp, units
from prdit.data.sources.patients import read_patients
from prdit.data.sources.zenodo import Record
from prdit.data.store import open_store
from prdit.data.store import run as pack
from prdit.data.volume import Volume, read_nifti, write_nifti
from prdit.downloads import fetch_all
from prdit.errors import UserError
from prdit.files import sha256, write_csv, write_json
from prdit.recipes import (
    DownloadRecipe,
    FetchRecipe,
    FolderRecipe,
    LedgerRecipe,
    PackRecipe,
    RecordRecipe,
)

ROOT = Path(__file__).resolve().parents[1]
AIR = Volume(np.full((6, 6, 6), -1000, np.int16), (2.0, 2.0, 2.0))


@pytest.fixture
def series() -> list[Dataset]:
    return list(series_datasets(AIR, patient_id="zoo"))


def frames(header: Dataset) -> None:
    header.NumberOfFrames = 2


def header(header: Dataset) -> None:
    header.NumberOfFrames = "many"


def encoding(header: Dataset) -> None:
    header.file_meta.TransferSyntaxUID = JPEGLSLossless


def spacing(header: Dataset) -> None:
    header.PixelSpacing = [0, 1]


def position(header: Dataset) -> None:
    header.ImagePositionPatient = ["0", "0", "1e999"]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (frames, "is multi-frame; only one image per file is supported"),
        (spacing, "has no valid PixelSpacing"),
        (position, "has no valid ImagePositionPatient"),
    ],
)
def test_slices(
    fault: Callable[[Dataset], None], told: str, series: list[Dataset], tmp_path: Path
) -> None:
    fault(series[2])
    save_datasets(tmp_path, series)
    with pytest.raises(Excluded, match=rf"\.dcm {told}"):
        read_series(tmp_path)


def test_slices_that_cannot_be_decoded(series: list[Dataset]) -> None:
    from prdit.data.slices import parse_slice

    encoding(series[0])
    with pytest.raises(Excluded, match=r"1.dcm holds JPEG-LS .* pixels that cannot be decoded"):
        parse_slice("1.dcm", series[0])
    del series[1].file_meta
    with pytest.raises(Excluded, match=r"2.dcm has a damaged header \(.*file_meta"):
        parse_slice("2.dcm", series[1])


def image(path: Path, values: np.ndarray, spacing_mm: float = 1.0) -> Path:
    import nibabel as nib

    nib.save(nib.Nifti1Image(values, np.diag([spacing_mm] * 3 + [1])), path)
    return path


def test_image_files(tmp_path: Path) -> None:
    told = "a voxel spacing of 30 mm, which no CT has"
    with pytest.raises(Excluded, match=told):
        read_image(image(tmp_path / "coarse.nii", np.zeros((4, 4, 4), np.int16), 30))
    holes = np.full((4, 4, 4), np.nan, np.float32)
    with pytest.raises(Excluded, match="the image holds values that are not finite numbers"):
        read_image(image(tmp_path / "holes.nii", holes))
    with pytest.raises(UserError, match=r"holes.nii holds values that are not finite numbers, so"):
        read_nifti(tmp_path / "holes.nii")
    noise = np.random.default_rng(0).integers(-1000, 1000, (40, 40, 40)).astype(np.int16)
    whole = image(tmp_path / "cut.nii", noise)
    whole.write_bytes(whole.read_bytes()[:60_000])
    with pytest.raises(UserError, match=r"cannot read .*cut.nii as NIfTI: .*; delete it and what"):
        read_nifti(whole)
    with pytest.raises(Excluded, match=r"cannot be read as NIfTI \(Expected 128000 bytes"):
        read_image(whole)


def test_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", ct=np.full((4, 4, 4), np.inf))
    with pytest.raises(Excluded, match="the array holds values that are not finite numbers"):
        read_array(tmp_path / "a.npz", Array())
    with pytest.raises(UserError, match=r"there is no file .*b.npz"):
        read_array(tmp_path / "b.npz", Array())


def test_scans_that_the_released_code_cannot_take(tmp_path: Path) -> None:
    grid = Grid(size=8, spacing_mm=1.0, method="released")
    half = np.zeros((4, 4, 4), np.int16)
    half[:2] = -1000
    import SimpleITK as sitk

    sitk.WriteImage(sitk.GetImageFromArray(half), str(tmp_path / "small.mha"))
    _, row = preprocess_series(tmp_path / "small.mha", grid)
    assert row.reason == "(4, 4, 4) voxels, fewer than 8 along an axis"
    turned = sitk.GetImageFromArray(half)
    turned.SetDirection([0, 1, 0, 1, 0, 0, 0, 0, -1])
    sitk.WriteImage(turned, str(tmp_path / "turned.mha"))
    _, row = preprocess_series(tmp_path / "turned.mha", grid)
    assert row.reason == "not axial, which the released preprocessing cannot handle"


def test_folders_of_scans(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"there is no folder .* to take scans from; correct source"
    ):
        units(tmp_path / "gone", "dicom")
    (tmp_path / "link.nii").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"cannot see .*link.nii: .*; mend it or take it away from"):
        stamp(tmp_path / "link.nii")
    with pytest.raises(UserError, match=r"there is no folder .*gone"):
        series_in(tmp_path / "gone")
    source = Nifti(kind="nifti", folder=str(tmp_path))
    recipe = FolderRecipe(source=source, units=["gone.nii"], listing_sha256="")
    told = r"there is no file .*gone.nii any more; run the same command again"
    with pytest.raises(UserError, match=told):
        folder.run(recipe, verified=tmp_path / "verified.json")
    with pytest.raises(UserError, match=r"cannot read the table of patients .*none.csv: "):
        read_patients(tmp_path / "none.csv", "scan", "patient")


def test_a_series_in_two_shards(tmp_path: Path) -> None:
    for shard in "ab":
        (tmp_path / shard).mkdir()
        write_rows(tmp_path / shard / "q.csv", [QualityRow(series_uid="1.2", path=shard)])
    recipe = LedgerRecipe(series=None, split=Split(held_out=1), max_excluded=0)
    made = {name: tmp_path / name for name in ("ledger", "split", "summary")}
    with pytest.raises(UserError, match=r"series 1.2 is there twice, in a and in b; put all files"):
        join(recipe, shards=[tmp_path / "a/q.csv", tmp_path / "b/q.csv"], **made)


def test_manifests(tmp_path: Path) -> None:
    rows = tmp_path / "m.csv"
    write_csv(rows, shards.MANIFEST, [])
    fetched = FetchRecipe(manifest=str(rows), manifest_sha256="", endpoints=[], first=2, count=3)
    with pytest.raises(UserError, match=r"m.csv has fewer than 5 series; correct it"):
        idc.run(fetched, verified=tmp_path / "v.json")
    write_csv(rows, record_list.COLUMNS, [])
    asked = DownloadRecipe(url="http://127.0.0.1:9", record=1, first=2, count=3)
    told = r"m.csv: it has fewer than 5 scans; delete it and run the same command again"
    with pytest.raises(UserError, match=told):
        record_scans.run(asked, manifest=rows, verified=tmp_path / "v.json")
    with pytest.raises(
        UserError, match=r"m.csv: its columns are not series_uid, .*; correct source"
    ):
        shards.manifest(str(rows))
    write_csv(tmp_path / "empty.csv", shards.MANIFEST, [])
    config = load_file(ROOT / "config/quickstart.yaml")
    source = ImagingDataCommons(kind="idc", manifest=str(tmp_path / "empty.csv"))
    changed = config.datasets["phantom"].model_copy(update={"source": source})
    none = config.model_copy(update={"datasets": {"phantom": changed}})
    with pytest.raises(UserError, match=r"datasets.phantom.source holds no scans: .*empty.csv"):
        shards.check_sources(none)
    told = "datasets.phantom is of kind phantom: there is nothing to download"
    with pytest.raises(UserError, match=told):
        fetch_all(config, "phantom")


class Answers(Record):
    """A record without a server."""

    found: ClassVar[Any] = {}

    def _json(self, url: str) -> dict[str, Any]:
        found: dict[str, Any] = self.found[url.rpartition("/")[2]]
        return found


@pytest.mark.parametrize("size", [-1, "large"])
def test_records(size: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = {"key": "a.npz", "size": size, "checksum": "md5:0"}
    monkeypatch.setattr(Answers, "found", {"files": {"entries": [one]}, "1": {}})
    told = "the list of files of http://z/records/1 cannot be understood; is it the right server"
    with pytest.raises(UserError, match=told):
        Answers("http://z", 1).files()
    one["size"] = 3
    monkeypatch.setattr(record_list, "Record", Answers)
    told = "has no CT_Scan.*, which tells the patients; correct source.record"
    with pytest.raises(UserError, match=told):
        record_list.run(
            RecordRecipe(url="http://z", record=1, scans=1), manifest=tmp_path / "m.csv"
        )


def test_servers_of_another_kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer = requests.Response()
    answer.raw = io.BytesIO()
    answer.raw.read = lambda *_, **__: b"[]"  # type: ignore[method-assign]
    monkeypatch.setattr(Record, "_get", lambda *_, **__: answer)
    with pytest.raises(UserError, match=r"records/1 does not answer as Zenodo does; is it the rig"):
        Record("http://z", 1).about()
    (tmp_path / ".a.npz.part").mkdir()
    with pytest.raises(
        UserError, match=r"write .*.a.npz.part: Is a directory; mend that, then run"
    ):
        Record("http://z", 1).download("a.npz", 8, "", tmp_path / "a.npz")


def test_packing(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    write_nifti(path, AIR)
    keys = ("series_uid", "patient_id", "part", "file", "sha256")
    made = {"split": tmp_path / "split.csv", "array": tmp_path / "a", "index": tmp_path / "b"}
    recipe = PackRecipe(size=6, window=Window(low=-1000, quantile=0.5))
    write_csv(made["split"], keys, [("1", "p", "train", path.name, voxels_sha256(AIR.hu))])
    told = r"a.nii.gz: no contrast: nothing above -1000 HU at quantile 0.5; write a larger window"
    with pytest.raises(UserError, match=told):
        pack(recipe, **made)
    write_csv(made["split"], keys, [("1", "p", "train", path.name, "0" * 64)])
    told = r"quality.csv: (a.nii.gz has changed since|there is no such file; run the workflow)"
    with pytest.raises(UserError, match=told):
        pack(recipe, **made)
    (tmp_path / "quality.csv").touch()
    with pytest.raises(UserError, match=r"quality.csv: a.nii.gz has changed since; delete it and"):
        pack(recipe, **made)


def test_samples_that_do_not_compare(tmp_path: Path) -> None:
    real = open_store(stepping.store(tmp_path))
    sample = tmp_path / "s.nii.gz"
    write_nifti(sample, AIR)
    card = tmp_path / "card.json"
    write_json(card, {"files": {sample.name: sha256(sample)}, "window": [-1000.0, 400.0]})
    told = r"1 samples of shape \(6, 6, 6\) beside .* cannot be told from real volumes of shape"
    with pytest.raises(UserError, match=told):
        drawn([card], real, 0.1)
    write_json(card, {"files": {}, "window": [-1000.0, 400.0]})
    with pytest.raises(UserError, match=r"card.json: it names no files; delete it and run the"):
        drawn([card], real, 0.1)
