"""`benchmarks/gpu.py` rehearsed on a CPU with few packages; and what becomes of a failure."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT.parent / "shared" / "golden"
BARE = """
import sys
from importlib.machinery import PathFinder

ABSENT = set("snakemake SimpleITK monai pydicom pandas matplotlib sklearn scipy requests jinja2"
             " PIL markdown_it".split())

class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        absent = name.partition(".")[0] in ABSENT
        return None if absent else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Bare if finder is PathFinder else finder for finder in sys.meta_path]
"""
"""A sitecustomize.py by which a process, and all that it starts, has few packages."""
ALLOWED = {"torch", "numpy", "pydantic", "yaml", "nibabel", "tqdm", "safetensors"}
THEIRS = {"pydantic_core", "annotated_types", "typing_inspection", "typing_extensions"}
THEIRS |= {"packaging", "torchgen", "cython_runtime"}
OURS = {"prdit", "gpu_stages", "recorded"}


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with few packages."""
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "sitecustomize.py").write_text(BARE)
    return {**os.environ, "PYTHONPATH": str(tmp_path / "bare")}


def gpu(
    *words: str, out: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/gpu.py", "--out", str(out), *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=env)


def test_every_stage_comes_to_its_end_with_few_packages(
    runner: ModuleType, tmp_path: Path, bare: dict[str, str]
) -> None:
    """And is not run again."""
    out = tmp_path / "out"
    words = ["--device", "cpu", "--minutes", "60"]
    words += ["--golden", str(GOLDEN)] if GOLDEN.is_dir() else []
    done = gpu(*words, out=out, env=bare)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((out / "gpu.json").read_text())
    names = [stage.name for stage in stages_of(runner)]
    assert list(found["stages"]) == names
    assert {told["ended"] for told in found["stages"].values()} == {"whole"}
    lines = {name: told["lines"] for name, told in found["stages"].items()}
    for name in set(names) - {"train", "sample", "small_gpu"}:  # tiny speeds have no bounds
        assert "PASS" in [line["result"] for line in lines[name]], name
    assert lines["small_gpu"][0]["result"] == "SKIP"
    assert "ellipsoids" in lines["small"][0]["value"]
    table = (out / "gpu.md").read_text()
    assert all(f"| {line['name']} |" in table for some in lines.values() for line in some)
    assert sorted(p.name for p in out.iterdir() if p.is_file()) == [
        "gpu.json",
        "gpu.md",
        "volumes.png",
    ]
    assert Image.open(out / "volumes.png").size == (8 * 16 * 4, 2 * 16 * 4)
    again = gpu(*words, out=out, env=bare)
    assert again.stdout.count("is there already") == len(names)
    assert json.loads((out / "gpu.json").read_text()) == found


def test_the_config_for_one_gpu_is_planned(tmp_path: Path) -> None:
    done = gpu("--device", "cpu", "--stage", "small_gpu", out=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "can be planned" in done.stdout


def test_an_unknown_stage_is_one_sentence(tmp_path: Path) -> None:
    done = gpu("--stage", "site", "speed", out=tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr == (
        "no stage 'speed'; there are site, parity, silence, train, sample, memory, resume, rivals,"
        " small, small_gpu\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_one_sentence(tmp_path: Path) -> None:
    done = gpu(out=tmp_path)
    assert done.returncode == 1
    assert "sees no GPU" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_stages_import_few_packages_and_are_python_3_12(bare: dict[str, str]) -> None:
    """Those of a rented machine: torch, numpy, and a few small wheels."""
    stages = [p.stem for p in (ROOT / "benchmarks/gpu_stages").glob("*.py") if p.stem != "child"]
    script = f"""
import importlib, json, sys
sys.path[:0] = {[str(ROOT / "benchmarks"), str(ROOT)]}
for name in {stages}:
    importlib.import_module(f"gpu_stages.{{name}}")
from prdit.cli import STEPS
for verb in ("train", "sample", "time"):
    importlib.import_module(STEPS[verb])
import gpu_stages.child, recorded
top = {{name.split(".")[0] for name in sys.modules}} - set(sys.stdlib_module_names)
files = [getattr(module, "__file__", None) for module in sys.modules.values()]
print(json.dumps([sorted(top), [file for file in files if file]]))
"""
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=bare)
    top, files = json.loads(done.stdout)
    strangers = {name for name in top if not name.startswith("_")} - ALLOWED - THEIRS - OURS
    assert strangers - {"sitecustomize", "google"} == set()
    mine = [Path(file) for file in files if Path(file).is_relative_to(ROOT)]
    mine = [path for path in mine if "site-packages" not in path.parts]
    assert len(mine) > 50
    for path in mine:
        ast.parse(path.read_text(), str(path), feature_version=(3, 12))


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The runner, which finds modules of stages in a test's folder, too."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return importlib.import_module("gpu_stages.runner")


def stages_of(runner: ModuleType) -> list[Any]:
    package: Any = importlib.import_module(runner.__package__ or "")
    return list(package.STAGES)


def carried_out(runner: ModuleType, folder: Path, **modules: str) -> tuple[int, dict[str, Any]]:
    """Run stages that are given as source text; the exit status, and what was found."""
    from gpu_stages import Stage

    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    stages = [Stage(name, name, 1) for name in modules]
    order = runner.Order(stages, True, folder / "out", "cpu", 5.0)
    status = runner.carry_out(order)
    return status, json.loads((folder / "out" / "gpu.json").read_text())["stages"]


FINE = "def run(case, lines):\n    lines.at_most('a number', 1.0, 2.0)\n"
HALF_WAY = """
def run(case, lines):
    lines.at_most('a number', 1.0, 2.0)
    raise ValueError('the floor fell in')
"""


def test_a_stage_that_crashes_is_a_line_and_the_rest_goes_on(
    runner: ModuleType, tmp_path: Path
) -> None:
    killed = "import os\ndef run(case, lines):\n    os.kill(os.getpid(), 9)\n"
    status, found = carried_out(runner, tmp_path, killed=killed, half_way=HALF_WAY, fine=FINE)
    assert status == 1
    assert [line["result"] for line in found["half_way"]["lines"]] == ["PASS", "FAIL"]
    assert "ValueError: the floor fell in" in found["half_way"]["lines"][1]["value"]
    assert "signal 9" in found["killed"]["lines"][0]["value"]
    assert [line["result"] for line in found["fine"]["lines"]] == ["PASS"]
    assert "| FAIL |" in (tmp_path / "out" / "gpu.md").read_text()


def test_what_came_to_its_end_is_not_run_again_and_what_crashed_is(
    runner: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    carried_out(runner, tmp_path, half_way=HALF_WAY, fine=FINE)
    capsys.readouterr()
    status, found = carried_out(runner, tmp_path, half_way=FINE, fine=HALF_WAY)
    told = capsys.readouterr().out
    assert status == 0
    assert "fine: is there already" in told
    assert "half_way: begins" in told
    assert {told["ended"] for told in found.values()} == {"whole"}


def test_findings_of_other_code_are_made_again(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried_out(runner, tmp_path, fine=FINE)
    monkeypatch.setattr(runner, "code", lambda: "another")
    status, found = carried_out(runner, tmp_path, fine=HALF_WAY)
    assert status == 1
    assert len(found["fine"]["lines"]) == 2


def test_a_stage_that_hangs_is_ended_with_what_it_started(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "LIMIT_S", 15.0)
    hangs = """
import subprocess, sys, time
def run(case, lines):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    lines.info("child", child.pid)
    time.sleep(600)
"""
    status, found = carried_out(runner, tmp_path, hangs=hangs)
    first, last = found["hangs"]["lines"]
    assert status == 1
    assert "did not end within 15 s" in last["value"]
    stat = Path("/proc", first["value"], "stat")
    assert not stat.exists() or stat.read_text().split(")")[1].split()[0] == "Z"


FAULTS = {
    "a compiler that fails in a training": """
from gpu_stages import parity
from prdit.machine import compiled
def backend(module, inputs):
    raise RuntimeError('no such instruction')
def run(case, lines):
    compiled.BACKEND = backend
    parity.training(case, lines)
""",
    "a compiler that fails": """
from gpu_stages import silence
from prdit.machine import compiled
def backend(module, inputs):
    raise RuntimeError('no such instruction')
def run(case, lines):
    compiled.BACKEND = backend
    silence.training(case, lines, 'PRDiT-4L', 8, 4)
""",
    "a step that reads a value": """
from gpu_stages import silence
from prdit.training.ema import Average
usual = Average.update
def update(self):
    float(self.averages[0].sum())
    usual(self)
def run(case, lines):
    Average.update = update
    with lines.trying('silence'):
        silence.training(case, lines, 'PRDiT-4L', 8, 4)
""",
    "compiled noise that is other noise": """
from gpu_stages import parity
usual = parity.normal_at
def run(case, lines):
    parity.normal_at = lambda *told: usual(*told) + 1e-4
    parity.noise(case, lines)
""",
    "a repeated step that is another sampler": """
from gpu_stages import parity_sampler
from prdit.generators.drawing import Repeated
usual = Repeated.step
def step(self):
    usual(self)
    self.x.mul_(1.001)
def run(case, lines):
    Repeated.step = step
    generator = parity_sampler.generator_of(case, 'PRDiT-4L', 8)
    generator.network.eval().requires_grad_(False)
    parity_sampler.kinds(case, lines, generator, 'PRDiT-4L')
""",
    "a lack of memory that is passed on": """
from gpu_stages import memory
from prdit.training import update
def run(case, lines):
    update.asked_for = lambda error: None
    with lines.trying('halving'):
        memory.halving(case, lines)
""",
}


FAILS_BY = {
    "a compiler that fails in a training": "compiled to the end",
    "a compiler that fails": "no failure to compile: eager",
    "a step that reads a value": "reads a value",
    "compiled noise that is other noise": "CPU = compiled",
    "a repeated step that is another sampler": "repeated step",
    "a lack of memory that is passed on": "OutOfMemoryError",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_package_is_a_line_that_fails(
    runner: ModuleType, tmp_path: Path, fault: str
) -> None:
    status, found = carried_out(runner, tmp_path, broken=FAULTS[fault])
    assert status == 1
    assert found["broken"]["ended"] == "whole"
    failed = [line for line in found["broken"]["lines"] if line["result"] == "FAIL"]
    assert any(FAILS_BY[fault] in f"{line['name']}: {line['value']}" for line in failed), failed


@pytest.mark.usefixtures("runner")
def test_a_picture_needs_no_package(tmp_path: Path) -> None:
    from gpu_stages.phantoms import ellipsoids, picture, write_png

    grey = np.arange(6 * 5, dtype=np.uint8).reshape(6, 5)
    write_png(tmp_path / "a.png", grey)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), grey)
    first, other = (torch.from_numpy(ellipsoids(16, 0, n))[None, None] for n in (0, 1))
    assert not torch.equal(first, other)
    assert picture([torch.cat([first, other]), first.repeat(2, 1, 1, 1, 1)], 2).shape == (64, 64)
