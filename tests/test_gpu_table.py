"""docs/gpu.md shows what bounds.json records."""

from __future__ import annotations

import json

from gpu_dry.table import BOUNDS, PAGE, page, table


def test_the_page_shows_what_is_recorded() -> None:
    text = PAGE.read_text()
    assert text == page(text, table(json.loads(BOUNDS.read_text())))
