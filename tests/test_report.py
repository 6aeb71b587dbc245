"""The report of a quickstart: opened from disk by a real browser, without a network."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser import CHROMIUM, Browser
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
REPORTS = [ROOT / "results" / name / "report" for name in ("quickstart", "miniature")]
THERE = [path for path in REPORTS if (path / "index.html").is_file()]
PICTURES = ROOT / "results" / "screenshots"
pytestmark = pytest.mark.skipif(not THERE, reason="run `make quickstart` first")


@pytest.fixture(params=THERE, ids=lambda path: path.parent.name)
def report(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_everything_it_links_to_is_there(report: Path) -> None:
    page = (report / "index.html").read_text()
    targets = re.findall(r'(?:href|src)="([^"#]+)"', page)
    assert len(targets) > 10
    for target in targets:
        assert not target.startswith("http"), target
        assert (report / target).is_file(), target
    assert 'src="volumes.js"' in (report / "viewer.html").read_text()


def test_pages_of_quality_link_to_what_is_there(report: Path) -> None:
    pages = list(report.glob("quality/*/index.html"))
    assert pages
    for page in pages:
        targets = re.findall(r'(?:href|src)="([^"#]+)"', page.read_text())
        assert any(target.endswith("quality.csv") for target in targets)
        for target in targets:
            assert (page.parent / target).is_file(), target


def test_it_shows_every_table_with_its_verdicts_and_cards(report: Path) -> None:
    page = (report / "index.html").read_text()
    for path in (report / "tables").glob("*.md"):
        assert f'id="{path.stem}"' in page
    assert "Not comparable with the paper: " in page
    assert page.count('href="cards/') >= len(list((report / "cards").iterdir()))
    assert "not comparable" in page


def test_it_shows_what_was_run_and_what_it_cost(report: Path) -> None:
    page = (report / "index.html").read_text()
    stages = pd.read_csv(report.parent / "stages.csv").set_index("rule")
    trained = list((report.parent / "models").glob("*/*/*/run.json"))
    assert stages.loc["train", "jobs"] == len(trained)
    assert (stages["hours"] > 0).all()
    for rule in stages.index:
        assert f"<td>{rule}</td>" in page
    assert page.count("<svg") == 1


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium; on Debian: apt-get install chromium")
    one = Browser(tmp_path)
    yield one
    one.close()


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("L")).astype(int)


def test_it_opens_from_disk_without_errors_or_a_network(report: Path, browser: Browser) -> None:
    browser.open(report / "index.html")
    browser.wait_for("document.readyState === 'complete'")
    browser.screenshot(PICTURES / f"{report.parent.name}_report.png")
    assert (
        browser.value("[...document.images].filter(i => i.complete && !i.naturalWidth).length") == 0
    )
    assert browser.troubles() == []
    assert browser.asked_for() <= {"file", "data", "blob"}


def test_the_viewer_shows_volumes_and_scrolls(report: Path, browser: Browser) -> None:
    browser.open(report / "viewer.html")
    browser.wait_for("document.body.dataset.ready === 'yes'")
    before = pixels(browser.screenshot(PICTURES / f"{report.parent.name}_viewer.png"))
    assert browser.value("document.getElementById('trouble').textContent") == ""
    for half in np.split(before[:, : before.shape[1] // 2 * 2], 2, axis=1):
        assert half[100:].std() > 10  # pixels of a volume on a black ground
    for _ in range(3):
        browser.scroll(200, 300, 100)
    browser.wait_for("true")
    moved = pixels(browser.screenshot())
    assert (np.abs(moved - before) > 8).mean() > 0.002
    browser.value(
        "document.getElementById('window').selectedIndex = 1;"
        "document.getElementById('window').dispatchEvent(new Event('change'))"
    )
    darker = pixels(browser.screenshot())
    assert (np.abs(darker - moved) > 8).mean() > 0.01
    assert browser.troubles() == []
    assert browser.asked_for() <= {"file", "data", "blob"}
