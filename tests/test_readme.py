"""Every command in the README works, and every file it links to is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from prdit.data.phantom.dicom_writer import write_series
from prdit.data.phantom.thorax import thorax

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]


def commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [line for block in blocks for line in block.strip().splitlines()]


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    write_series(folder, thorax(0, 0, (10.0, 10.0, 10.0), (30, 36, 36)), patient_id="P")
    return folder


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_works(command: str, scan: Path, tmp_path: Path) -> None:
    """Long ones are only planned: `make` by -n (CI runs both targets), the paper's run by -n."""
    line = command.replace(". .venv/bin/activate", "true").replace(".venv/bin/", "")
    line = line.replace("DICOM_FOLDER", str(scan)).replace("chest.nii.gz", str(tmp_path / "c.nii"))
    if line.startswith("make "):
        line = line.replace("make ", "make -n ")
    elif "--sdm conda" in line:
        line = line.replace("--sdm conda", "-n")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", line],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_starts_with_its_two_commands() -> None:
    assert commands()[:2] == ["make quickstart", "make test"]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
