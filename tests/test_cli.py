"""The command line on bad input: one sentence, exit status 2, no traceback, nothing left behind."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest

from prdit.by_hand import BY_HAND
from prdit.cli import STEPS, main
from prdit.data.phantom.dicom_writer import save_datasets, series_datasets, write_series
from prdit.data.phantom.thorax import thorax
from prdit.data.quality import read_rows
from prdit.data.volume import Volume

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def chest() -> Volume:
    return thorax(0, 0, (10.0, 10.0, 10.0), (30, 36, 36))


@pytest.fixture
def series(chest: Volume, tmp_path: Path) -> Path:
    folder = tmp_path / "series"
    write_series(folder, chest, patient_id="P")
    return folder


def by_height(folder: Path) -> list[Path]:
    def height(path: Path) -> float:
        return float(pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient[2])

    return sorted(folder.glob("*.dcm"), key=height)


def refused(capsys: pytest.CaptureFixture[str], scan: Path, *options: str) -> str:
    """What `prdit preprocess` says as it refuses; nothing may be left of the output."""
    before = fingerprint(scan)
    out = scan.parent / "out" / "volume.nii.gz"
    arguments = ["preprocess", str(scan), str(out), "--size", "32", "--spacing-mm", "8", *options]
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert not out.parent.exists() or not list(out.parent.iterdir())
    assert fingerprint(scan) == before, "the input was changed"
    assert said.err.count("\n") == 1
    return said.err


def fingerprint(scan: Path) -> dict[str, str]:
    files = [p for p in sorted(scan.rglob("*")) if p.is_file()] if scan.is_dir() else []
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_a_good_series(series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "volume.nii.gz"
    assert main(["preprocess", str(series), str(out), "--size", "32", "--spacing-mm", "8"]) == 0
    (row,) = read_rows(tmp_path / "volume.quality.csv")
    assert row.status == "ok"
    assert capsys.readouterr().out.startswith(f"{out}: ok; lungs ")
    image = nib.load(out)
    assert image.shape == (32, 32, 32)
    assert image.header.get_zooms() == (8, 8, 8)


def test_a_folder_without_dicom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "notes.txt").write_text("no images here")
    said = refused(capsys, folder)
    assert said == (
        f"prdit preprocess: {folder} holds no DICOM files (sub-folders are not searched)\n"
    )


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no folder or image file" in refused(capsys, tmp_path / "nowhere")


def test_two_series_in_one_folder(
    series: Path, chest: Volume, capsys: pytest.CaptureFixture[str]
) -> None:
    uid = write_series(series, chest, patient_id="P", series_number=2)
    said = refused(capsys, series)
    assert "holds 2 CT series; choose one with --series UID: " in said
    assert uid in said
    out = series.parent / "volume.nii"
    words = ["preprocess", str(series), str(out), "--size", "16", "--spacing-mm", "16"]
    assert main([*words, "--series", uid]) == 0


def test_a_truncated_file(series: Path, capsys: pytest.CaptureFixture[str]) -> None:
    victim = by_height(series)[10]
    victim.write_bytes(victim.read_bytes()[:-500])
    said = refused(capsys, series)
    assert f"{series} cannot be used: {victim.name} is truncated: 2092 of 2592 bytes" in said


def test_missing_slices(series: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for victim in by_height(series)[10:12]:
        victim.unlink()
    assert "cannot be used: missing slices: a gap of 30.0 mm at" in refused(capsys, series)


def test_one_missing_slice_is_bridged_and_said(
    series: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_height(series)[10].unlink()
    out = series.parent / "volume.nii"
    assert main(["preprocess", str(series), str(out), "--size", "32", "--spacing-mm", "8"]) == 0
    assert "fixed (z resampled onto even steps)" in capsys.readouterr().out


def test_duplicate_slices_are_dropped_and_said(
    series: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original = by_height(series)[10]
    copy = pydicom.dcmread(original)
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    copy.save_as(series / "copy.dcm")
    out = series.parent / "volume.nii"
    assert main(["preprocess", str(series), str(out), "--size", "32", "--spacing-mm", "8"]) == 0
    assert "fixed (1 duplicate slices dropped)" in capsys.readouterr().out


def test_a_series_that_is_not_ct(
    chest: Volume, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    datasets = list(series_datasets(chest, patient_id="P"))
    for dataset in datasets:
        dataset.Modality = "MR"
    folder = tmp_path / "series"
    save_datasets(folder, datasets)
    assert "cannot be used: not a CT volume: modality MR" in refused(capsys, folder)


def test_an_image_that_is_no_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scan.mha"
    path.write_text("nothing of the kind")
    assert f"cannot read {path} as a medical image" in refused(capsys, path)


def test_an_output_that_is_no_nifti(series: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preprocess", str(series), str(series.parent / "volume.dcm")]) == 2
    assert "volume.dcm is no NIfTI name; end it in .nii.gz" in capsys.readouterr().err


def test_one_file_of_a_series(series: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, by_height(series)[3])
    assert "is one DICOM file of a series; give the folder of all" in said


def test_an_output_inside_the_input(series: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preprocess", str(series), str(series / "volume.nii.gz")]) == 2
    assert "lies in the input, which is never written to" in capsys.readouterr().err
    assert not list(series.glob("*.nii.gz"))


@pytest.mark.parametrize("options", [["--size", "100000"], ["--spacing-mm", "nan"]])
def test_numbers_out_of_bounds(
    options: list[str], series: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(series.parent / "volume.nii.gz")
    assert main(["preprocess", str(series), out, *options]) == 2
    assert "--size must lie within 8 and 1024, --spacing-mm within" in capsys.readouterr().err


def test_a_nifti_with_nan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = np.full((16, 16, 16), -1000, np.float32)
    values[:8] = np.nan
    path = tmp_path / "nan.nii.gz"
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    assert "holds values that are not finite numbers" in refused(capsys, path)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder nobody can write to: root ignores permissions, so root gets a read-only mount."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("running as root, and read-only folders cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_folder(
    series: Path, read_only: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = read_only / "volume.nii.gz"
    assert main(["preprocess", str(series), str(out), "--size", "16", "--spacing-mm", "16"]) == 2
    assert f"cannot write {out}" in capsys.readouterr().err


def test_a_read_only_results_folder_stops_the_workflow(
    read_only: Path, workflow_copy: Path
) -> None:
    shutil.rmtree(workflow_copy / "results")
    (workflow_copy / "results").symlink_to(read_only)
    done = subprocess.run(
        ["snakemake", "-n", "--configfile", "config/quickstart.yaml"],
        cwd=workflow_copy,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "results go to results/quickstart, but " in done.stdout
    assert "cannot be written to; make it writable" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("step", sorted(STEPS))
def test_every_step_explains_itself(step: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([step, "--help"])
    assert caught.value.code == 0
    assert "--" in capsys.readouterr().out


@pytest.mark.parametrize("verb", sorted([*STEPS, *BY_HAND]))
def test_no_option_is_an_abbreviation(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--config torch_build=cu126`, which is Snakemake's, would be taken for `--configfile`."""
    parse, seen = argparse.ArgumentParser.parse_args, []

    def parse_args(parser: argparse.ArgumentParser, *words: Any) -> argparse.Namespace:
        seen.append(parser)
        return parse(parser, *words)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    assert [parser.allow_abbrev for parser in seen] == [False, False]


@pytest.mark.parametrize("verb", ["doctor", "plan"])
def test_an_option_of_snakemakes_is_refused(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([verb, "--configfile", "config/paper.yaml", "--config", "torch_build=cu126"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --config torch_build=cu126" in capsys.readouterr().err


def test_a_recipe_that_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["score", "--recipe", "{}", "--real", "a", "--score", str(tmp_path / "b")]
    assert main(words) == 2
    assert "--recipe is no ScoreRecipe: " in capsys.readouterr().err


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prdit", "--help"], cwd=ROOT, capture_output=True, check=True
    )
    said = done.stdout.decode()
    assert "preprocess SCAN OUT.nii.gz" in said
    for name in [*STEPS, *BY_HAND]:
        assert re.search(rf"(^|[ ,]){name}([ ,]|$)", said, re.MULTILINE), name
    for example in re.findall(r"^  python -m prdit (\S+) .*", said, re.MULTILINE):
        assert example in BY_HAND


@pytest.mark.parametrize(
    "words",
    [["--batch", "0"], ["--processes", "-1"], ["--threads", "100000"], ["--time-limit", "nan"]],
)
def test_numbers_that_make_no_sense_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", *words])
    assert ended.value.code == 2
    assert f"argument {words[0]}: invalid" in capsys.readouterr().err


def test_weights_that_are_not_there_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = '{"sampler": {}, "seed": 0, "first": 0, "count": 1}'
    paths = ["--weights", "no", "--record", "no", "--card", str(tmp_path / "card.json")]
    counts = ["--batch", "1", "--threads", "1"]
    assert main(["sample", "--recipe", recipe, "--code", "c", *paths, *counts]) == 2
    assert "cannot read no: No such file or directory" in capsys.readouterr().err
