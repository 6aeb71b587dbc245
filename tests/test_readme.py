"""Commands in the README and the docs work, and what they link to is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import prdit
from prdit.cli import main
from prdit.data.phantom.dicom_writer import write_series
from prdit.data.phantom.thorax import thorax

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]


def commands(*pages: Path) -> list[str]:
    text = "".join(page.read_text() for page in pages)
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return list(dict.fromkeys(line for block in blocks for line in block.strip().splitlines()))


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    write_series(folder, thorax(0, 0, (10.0, 10.0, 10.0), (30, 36, 36)), patient_id="P")
    return folder


@pytest.mark.parametrize("command", commands(*PAGES))
def test_a_command_works(command: str, scan: Path, tmp_path: Path) -> None:
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
    assert commands(ROOT / "README.md")[:2] == ["make quickstart", "make test"]


def shown() -> list[str]:
    """Lines of the blocks that are not run: they need a network, a cluster, or somebody's files."""
    text = "".join(page.read_text() for page in PAGES)
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    return [line for line in dict.fromkeys(blocks.splitlines()) if line]


@pytest.mark.parametrize("line", shown())
def test_a_command_that_is_only_shown_names_what_there_is(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in re.findall(r"(?<![\w/])(?:config|docs|benchmarks|workflow|tests)/[\w./-]+", line):
        assert (ROOT / path).exists(), path
    if verb := re.match(r"python -m prdit (\S+)", line):
        with pytest.raises(SystemExit):
            main([verb[1], "--help"])
        options = capsys.readouterr().out
        assert all(option in options for option in re.findall(r"(?<= )--[a-z-]+", line))


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#?([^)]*)\)", page.read_text()):
        there = page.parent / target if target else page
        assert there.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(there), f"{page.name} links to {target}#{anchor}"


def numbers(tree: object) -> list[float]:
    if isinstance(tree, dict | list):
        values = tree.values() if isinstance(tree, dict) else tree
        return [number for value in values for number in numbers(value)]
    return [float(tree)] if isinstance(tree, int | float) else []


def test_the_readme_repeats_what_the_paper_prints() -> None:
    published = yaml.safe_load((ROOT / "config" / "published.yaml").read_text())
    results = (ROOT / "README.md").read_text().split("## Results")[1].split("## Run it")[0]
    rows = re.findall(r"^\| (\d+)[^|]*\|[^|]*\| ([^|]*) \|", results, re.MULTILINE)
    assert {int(table) for table, _ in rows} == {1, 2, 3, 4, 5, 6, 8, 11}
    for table, cell in rows:
        there = numbers(published[f"table_{table}"])
        for printed in re.findall(r"\d+\.\d+", cell):
            digits = len(printed.split(".")[1])
            assert printed in {f"{one:.{digits}f}" for one in there}, (table, printed)


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert citation["version"] == newest[1] == prdit.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", prdit.__version__)
