"""Each conda environment's pip section installs, and holds what the rules that name it import."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import get_args

import pytest
import yaml

from prdit.config import Config
from prdit.doctor.gpu import BUILDS, INDEX
from prdit.report.provenance import environments

ROOT = Path(__file__).resolve().parents[1]
OTHERS = sorted(set(BUILDS) - {"default"})
"""Values of torch_build that have files of their own."""


def pip_section(path: Path) -> list[str]:
    (pins,) = (
        d["pip"] for d in yaml.safe_load(path.read_text())["dependencies"] if isinstance(d, dict)
    )
    return pins


def steps(env: str) -> set[str]:
    """Verbs that rules run in an environment."""
    found: set[str] = set()
    for path in (ROOT / "rules").glob("*.smk"):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE):
            if f'"../envs/{env}.yaml"' in rule or f'torch_environment("{env}")' in rule:
                found |= set(re.findall(r"python -m prdit ([a-z-]+)", rule))
    return found


def test_every_rule_has_an_environment() -> None:
    text = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    verbs = re.findall(r"python -m prdit ([a-z-]+)", text)
    envs = [path.stem for path in (ROOT / "envs").glob("*.yaml")]
    assert set(verbs) == {verb for env in envs for verb in steps(env)}


def test_each_build_of_torch_has_its_files() -> None:
    assert get_args(Config.model_fields["torch_build"].annotation) == tuple(BUILDS)
    assert sorted(path.name for path in (ROOT / "envs").iterdir() if path.is_dir()) == OTHERS
    for build in OTHERS:
        for env in ("train", "score"):
            plain = pip_section(ROOT / f"envs/{env}.yaml")
            (torch,) = (pin for pin in plain if pin.startswith("torch=="))
            assert torch.startswith("torch==2.13."), "see gpu.BUILDS: other versions, other builds"
            expected = {*plain, f"{torch}+{build}", f"--extra-index-url {INDEX}/{build}"} - {torch}
            assert set(pip_section(ROOT / f"envs/{build}/{env}.yaml")) == expected


def test_the_record_of_provenance_has_the_files_of_all() -> None:
    found = environments(ROOT / "envs")
    named = {f"{build}/{env}" for build in OTHERS for env in ("train", "score")}
    assert set(found) == {"data", "report", "score", "train", *named}
    assert found["cu126/train"] == (ROOT / "envs/cu126/train.yaml").read_text()


def test_make_envs_changes_nothing(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "envs", tmp_path / "envs")
    for build in OTHERS:
        shutil.rmtree(tmp_path / "envs" / build)
    subprocess.run(["make", "--silent", "envs"], cwd=tmp_path, check=True)
    for path in (ROOT / "envs").rglob("*.yaml"):
        made = tmp_path / path.relative_to(ROOT)
        assert made.read_text() == path.read_text(), f"{path}: run `make envs`"


def index(folder: Path, *versions: str) -> str:
    """A package index with torches that hold nothing; its address."""
    (folder / "torch").mkdir(parents=True)
    (folder / "index.html").write_text('<a href="torch/">torch</a>')
    links = ""
    for version in versions:
        name, info = f"torch-{version}-py3-none-any.whl", f"torch-{version}.dist-info"
        with zipfile.ZipFile(folder / "torch" / name, "w") as wheel:
            wheel.writestr(f"{info}/METADATA", f"Name: torch\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        links += f'<a href="{name}">{name}</a>'
    (folder / "torch" / "index.html").write_text(links)
    return folder.as_uri()


@pytest.mark.parametrize("build", OTHERS)
def test_pip_takes_the_build_from_the_index_that_is_named(build: str, tmp_path: Path) -> None:
    """The torch lines as conda hands them to pip, with small indexes in place of the real ones."""
    pypi = index(tmp_path / "pypi", "2.13.0", "2.14.0")
    extra = index(tmp_path / build, f"2.13.0+{build}", f"2.14.0+{build}")
    lines = [line for line in pip_section(ROOT / f"envs/{build}/train.yaml") if "torch" in line]
    wanted = tmp_path / "wanted.txt"
    wanted.write_text("\n".join(lines).replace(f"{INDEX}/{build}", extra))
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--dry-run"]
    command += ["--no-deps", "--ignore-installed", "--index-url", pypi, "-r", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"Would install torch-2.13.0+{build}\n" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("env", ["data", "train", "score", "report"])
def test_an_environment_installs_and_runs_its_steps(env: str, tmp_path: Path) -> None:
    pins = pip_section(ROOT / f"envs/{env}.yaml")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *pins], check=True)
    for step in sorted(steps(env)):
        done = subprocess.run(
            [python, "-m", "prdit", step, "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    if env == "score":  # imported only once features are taken
        subprocess.run([python, "-c", "import prdit.metrics.features"], cwd=ROOT, check=True)
