"""What ends a verb, read aloud: the three classes on the command line, and sentences that no other
test hears; those about data and models stand in files of their own."""

from __future__ import annotations

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import stepping
import torch
import yaml
from pydantic import BaseModel

from prdit import cli, digests, doctor
from prdit.config.file import load, load_file
from prdit.data.scan import read_image
from prdit.data.sources.listing import units
from prdit.data.sources.patients import read_patients
from prdit.data.volume import average_pool, read_nifti
from prdit.doctor import data as doctor_data
from prdit.doctor.line import problem
from prdit.doctor.profile import Profile
from prdit.errors import Interrupted, OutOfMemory, UserError
from prdit.files import atomic, atomic_folder, read_csv, read_json, sha256, write_json
from prdit.generators import base
from prdit.generators.base import build
from prdit.metrics.score import floor_sets
from prdit.report import closest, provenance, stages

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (UserError("the scan x is empty; fetch it anew"), 2, "the scan x is empty; fetch it anew"),
        (Interrupted("stopped by SIGTERM at 8 of 16 volumes"), 75, "stopped by SIGTERM at 8 of 16"),
        (OutOfMemory("3 GiB"), 2, "out of memory: 3 GiB"),
        (FileNotFoundError(2, "No such file or directory", "x.npy"), 2, "x.npy: No such file"),
        (torch.OutOfMemoryError("CUDA out of memory"), 2, "out of memory (more than free): some"),
        (MemoryError(), 2, "out of memory (more than free): something else holds it, or this"),
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


def test_options(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (["plan", "--share", "2"], "--share is a share: at most 1"),
        (["plan", "--gpu-kw", "0"], "argument --gpu-kw: 0 is not above 0"),
        (
            ["train", "--time-limit", "-1"],
            "--time-limit: invalid float -1; write one from 0 on",
        ),
        (["time", "--threads", "0"], "argument --threads: invalid int 0; write one from 1 to 4096"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        assert ended.value.code == 2
        assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["describe", "PRDiT-4L", "--size", "18"], "the model.size: 18 is no multiple of"),
        (["describe", "PRDiT-4L", "--dataset", "lidk"], "the data set 'lidk' is not defined; did"),
        (["plan", "--configfile", "none.yaml"], "cannot read the config none.yaml: "),
    ],
)
def test_models_by_hand(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    if "describe" in words:
        words = [*words, "--configfile", str(ROOT / "config/paper.yaml")]
    assert cli.main(words) == 2
    assert told in capsys.readouterr().err


def test_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for verb in ("plan", "doctor"):
        assert cli.main([verb]) == 2
        assert "run this in the repository's own folder" in capsys.readouterr().err


def changed(*places: tuple[str, Any]) -> dict[str, Any]:
    """The quickstart's config with other values at some places."""
    raw: dict[str, Any] = yaml.safe_load((ROOT / "config/quickstart.yaml").read_text())
    for place, value in places:
        *above, last = place.split(".")
        node = raw
        for key in above:
            node = node.setdefault(key, {})
        node[last] = value
    return raw


FIFTEEN = {"datasets": ["phantom"], "size": 16, "model": "PRDiT-local", "sampler": "k1"}
OWN = {"kind": "own"}
UP = {
    "generator": "prdit_refined",
    "start_from": "PRDiT-4L",
    "patch": 5,
    "stride": 3,
    "training": {"volumes": 8},
}


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ([("figures.figure_15", FIFTEEN)], "figure_15.model: PRDiT-local has not both branches; n"),
        (
            [
                ("samplers.own", OWN),
                ("figures.figure_15", FIFTEEN | {"model": "PRDiT-4L", "sampler": "own"}),
            ],
            "figures.figure_15.sampler: name one of another kind than own",
        ),
        (
            [
                ("tables.table_1.anchor", "PRDiT-4L"),
                ("tables.table_1.rows", {"PRDiT-4L": {"model": "PRDiT-4L", "size": 32}, "b": {}}),
                ("tables.table_1.rows.b.model", "PRDiT-8L"),
            ],
            r"table_1: W-scores compare volumes of one size, not of \[16, 32\]; write one size",
        ),
        (
            [("tables.table_1.anchor", "PRDiT-4L"), ("tables.table_1.size", 12)],
            "table_1.size: 12 is no power of two from 8 on, which W-scores need",
        ),
        (
            [("tables.table_1.anchor", "PRDiT-4L"), ("tables.table_1.critics", [1, 1])],
            "table_1.critics has one seed twice; write each once",
        ),
        (
            [
                ("models.up", UP),
                ("tables.table_1.rows", {"up": {"model": "up", "size": 33}}),
                ("datasets.phantom.grid.size", 66),
            ],
            "table_1.size: 33 is odd, but models.up needs half of it; write an even size",
        ),
        (
            [("models.PRDiT-4L.start_from", None)],
            "a model with depth > 0 needs start_from: the name of its stage 1",
        ),
        (
            [("models.PRDiT-local.sha256", "0" * 64)],
            "sha256 is that of a file of weights: name the file too",
        ),
        (
            [("models.PRDiT-4L.per_dataset", {"phantom": {"width": "wide"}})],
            "width: Input should be a valid integer",
        ),
    ],
)
def test_configs(places: list[tuple[str, Any]], told: str) -> None:
    with pytest.raises(UserError, match=told):
        load(changed(*places))


def test_settings_of_a_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    class Settings(BaseModel):
        width: int

    module = SimpleNamespace(build=lambda *_: Settings.model_validate({"width": "wide"}))
    monkeypatch.setattr(base, "import_module", lambda _: module)
    entry = load_file(ROOT / "config/quickstart.yaml").models["PRDiT-4L"]
    with pytest.raises(UserError, match=r"settings.width of prdit: Input should be a valid int"):
        build(entry, 16)


def test_a_site_with_problems(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    for count, told in ((1, "1 problem; mend it and run"), (2, "2 problems; mend them and run")):
        monkeypatch.setattr(doctor, "look", lambda *_, n=count: [problem("x")] * n)
        assert cli.main(["doctor"]) == 2
        assert f"prdit doctor: {told} this again" in capsys.readouterr().err


def test_configs_that_the_doctor_reads(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("")
    with pytest.raises(UserError, match=r"a.yaml: the config .*a.yaml is empty or no mapping of"):
        doctor_data.read([tmp_path / "a.yaml"], Profile())
    raw = changed(("models.PRDiT-local.weights", str(tmp_path / "none.pt")))
    del raw["models"]["PRDiT-local"]["training"]
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(raw))
    told = "PRDiT-local.weights: there is no file .*none.pt; correct the path in the config or"
    with pytest.raises(UserError, match=told):
        doctor_data.read([tmp_path / "a.yaml"], Profile())


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"x": NaN}')
    with pytest.raises(UserError, match=r"a.json: NaN is no number; delete it and run the same"):
        read_json(path)
    path.write_text("[]")
    with pytest.raises(UserError, match=r"a.json: it holds no mapping; delete it"):
        read_json(path)
    with pytest.raises(UserError, match=r"a.json: it holds no x, y; delete it"):
        read_json(path, "x", "y")
    path.write_text("a,b\n1\n")
    with pytest.raises(UserError, match=r"a.json: a line is cut short or too long; delete it"):
        read_csv(path, ("a", "b"))
    with pytest.raises(UserError, match=r"cannot read .*b.json: No such file"):
        sha256(tmp_path / "b.json")
    (tmp_path / "c").touch()
    for write in (atomic, atomic_folder):
        with (
            pytest.raises(UserError, match=r"cannot write .*c/d: .*; free or choose another fold"),
            write(tmp_path / "c" / "d"),
        ):
            pass
    monkeypatch.chdir(tmp_path)
    record = Path(".snakemake/metadata", base64.urlsafe_b64encode(b"results/x/y").decode())
    for made in (record, Path("results/x/y")):
        made.parent.mkdir(parents=True)
        made.write_text("{}")
    with pytest.raises(UserError, match=r"no record of Snakemake's \('rule'\); delete it and run"):
        provenance.jobs(Path("results/x"))


def test_a_pair_of_another_store(tmp_path: Path) -> None:
    pair = {"series": "9", "sample": "s", "flipped": "", "distance": 1.0}
    score = tmp_path / "s.json"
    write_json(score, {"card": {}, "model": "m", "sampler": "s", "closest": [pair]})
    real = stepping.store(tmp_path)
    told = r"8.npy does not hold series 9, which a sample is nearest to; score anew"
    with pytest.raises(UserError, match=told):
        closest.run(scores=[score], real=real, figure=tmp_path / "f.png")
