"""What ends a verb, read aloud: the three classes on the command line, and sentences that no other
test hears."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from prdit import cli, digests
from prdit.config.file import load_file
from prdit.data.scan import read_image
from prdit.data.sources.listing import units
from prdit.data.sources.patients import read_patients
from prdit.data.volume import average_pool, read_nifti
from prdit.errors import Interrupted, OutOfMemory, UserError
from prdit.generators.base import build
from prdit.metrics.score import floor_sets
from prdit.report import stages

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (UserError("the scan x is empty; fetch it anew"), 2, "the scan x is empty; fetch it anew"),
        (Interrupted("stopped by SIGTERM at 8 of 16 volumes"), 75, "stopped by SIGTERM at 8 of 16"),
        (OutOfMemory("3 GiB"), 2, "out of memory: 3 GiB"),
        (FileNotFoundError(2, "No such file or directory", "x.npy"), 2, "x.npy: No such file"),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, BaseException) else "",
)
def test_what_ends_a_verb_is_one_sentence_and_a_status(
    error: BaseException,
    status: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def ends(_: object) -> None:
        raise error

    monkeypatch.setitem(cli.BY_HAND, "schema", ends)
    assert cli.main(["schema"]) == status
    said = capsys.readouterr().err
    assert said.startswith(f"prdit schema: {told}")
    assert said.count("\n") == 1


def nifti(path: Path, shape: tuple[int, ...], affine: np.ndarray | None = None) -> Path:
    values = np.zeros(shape, np.int16)
    nib.save(nib.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return path


def test_volumes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has shape .*; one volume \[x, y, z\] is needed"):
        read_nifti(nifti(tmp_path / "four.nii", (4, 4, 4, 2)))
    turned = np.eye(4)
    turned[:2, :2] = [[0.9, -0.44], [0.44, 0.9]]
    with pytest.raises(UserError, match="is oblique to the patient's axes; preprocess it onto an"):
        read_nifti(nifti(tmp_path / "turned.nii", (4, 4, 4), turned))
    with pytest.raises(UserError, match=r"a volume of shape \(5, 4, 4\) cannot be pooled by 2"):
        average_pool(np.zeros((5, 4, 4)), 2)
    with pytest.raises(UserError, match="is not one three-dimensional image of single values"):
        read_image(nifti(tmp_path / "flat.nii", (4, 4)))


def test_tables_of_patients(tmp_path: Path) -> None:
    table = tmp_path / "patients.csv"
    table.write_text("scan,patient\na,1\na,2\n")
    with pytest.raises(UserError, match=r"patients.csv gives scan a two patients; correct it"):
        read_patients(table, "scan", "patient")
    with pytest.raises(UserError, match=r"has no columns name and patient; it has scan, patient"):
        read_patients(table, "name", "patient")


def test_names_that_cannot_be_printed(tmp_path: Path) -> None:
    (tmp_path / "a\x07.npz").touch()
    with pytest.raises(UserError, match=r"holds a name that cannot be printed: .*; rename it"):
        units(tmp_path, "npz")


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("3D-LDM", "a 3D-LDM needs a VQ-GAN; name it in start_from"),
        ("PRDiT-4L-up", "a refined model needs a base; name a PRDiT in start_from"),
    ],
)
def test_models_that_build_on_others(model: str, told: str) -> None:
    entry = load_file(ROOT / "config/paper.yaml").models[model]
    with pytest.raises(UserError, match=told):
        build(entry, 128, None)


@pytest.mark.parametrize("model", ["HA-GAN", "WDM-3D"])
def test_models_that_do_not(model: str) -> None:
    generator = build(load_file(ROOT / "config/miniature.yaml").models[model], 16, None)
    with pytest.raises(UserError, match=f"{model} is trained in one phase; remove start_from"):
        generator.start_from(generator)


def test_too_few_real_volumes() -> None:
    seven: Any = SimpleNamespace(names=list("abcdefg"))
    told = "7 real volumes cannot be split in two sets of 4 at least; use 8 or more"
    with pytest.raises(UserError, match=told):
        floor_sets(seven, 1000, 1000)


def test_a_run_without_benchmarks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no benchmarks; run the workflow first"):
        stages.run(benchmarks=tmp_path, table=tmp_path / "t.csv", figure=tmp_path / "f.png")
    (tmp_path / "train.tsv").write_text("s\tcpu\n1\t2\n")
    with pytest.raises(UserError, match=r"train.tsv: .*; delete it and run the same command again"):
        stages.run(benchmarks=tmp_path, table=tmp_path / "t.csv", figure=tmp_path / "f.png")
    assert not list(tmp_path.glob("[tf].*"))


def test_code_that_is_no_python(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("def f(:\n")
    with pytest.raises(UserError, match=r"x.py, line 1: invalid syntax"):
        digests.statements(tmp_path / "x.py")
