"""The viewer holds as much as a page may, and begins with a real and a generated volume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prdit.recipes import SiteRecipe
from prdit.report import viewer

RECIPE = SiteRecipe(name="n", cards={}, reals=[], samples=[])
SHOWN = [("Phantoms, real #0", False), ("Surreal phantoms #0", True), ("Surreal phantoms #1", True)]


def written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, shown: list[tuple[str, bool]]
) -> tuple[int, str]:
    """How many volumes of 300 bytes a viewer shows, and its page."""
    content = [(*one, b"x" * 300) for one in shown]
    monkeypatch.setattr(viewer, "volumes", lambda *_: iter(content))
    count = viewer.write(RECIPE, [], [], folder)
    return count, (folder / "viewer.html").read_text()


def test_a_name_does_not_tell_what_is_generated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, page = written(tmp_path, monkeypatch, [SHOWN[0], *SHOWN])
    assert count == 4
    assert "Math.min(2, VOLUMES.length - 1)" in page


def test_the_limit_is_of_what_the_page_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer, "MOST_BYTES", 2 * 400)  # of 300 bytes, base64 makes 400
    count, _ = written(tmp_path, monkeypatch, SHOWN)
    assert count == 2
    text = (tmp_path / "volumes.js").read_text().removeprefix("const VOLUMES = ")
    held = json.loads(text.rstrip().removesuffix(";"))
    assert sum(len(one["base64"]) for one in held) <= viewer.MOST_BYTES
