"""The report: a folder that opens from disk, with everything a run made one click away."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markupsafe import Markup
from PIL import Image

from prdit.files import atomic_folder, read_json
from prdit.recipes import SiteRecipe
from prdit.report import viewer
from prdit.report.captions import FIGURES
from prdit.report.figures import DOTS_PER_INCH
from prdit.report.frames import read_frame
from prdit.report.verdict import NOT_COMPARABLE, NOT_REPRODUCED, REPRODUCED

SCREEN = 120
"""Pixels of a screen per inch of a figure."""
PACKAGES = ("numpy", "pandas", "matplotlib", "scipy", "nibabel")


def run(
    recipe: SiteRecipe,
    *,
    tables: list[Path],
    cards: list[Path],
    figures: list[Path],
    quality: list[Path],
    costs: Path,
    stages: Path,
    provenance: Path,
    reals: list[Path],
    samples: list[Path],
    site: Path,
) -> None:
    """Write the folder `site`, whose index.html is to be opened.

    Args:
        tables: Markdown files; CSV and LaTeX of the same name lie beside some.
        cards: score files.
        figures: pictures.
        quality: folders of the pages of what became of every series.
        provenance: what everything was made from, with the config and versions to show.
        reals, samples: volumes for the viewer: arrays, and cards of samples.
    """
    told = read_json(provenance, "config", "prdit", "machine", "packages")
    with atomic_folder(site) as folder:
        for name in ("tables", "cards", "figures", "quality"):
            (folder / name).mkdir()
        shutil.copyfile(provenance, folder / "provenance.json")
        names = dict(copied(path, folder / "cards") for path in cards)
        for path in tables:
            for kind in (".md", ".csv", ".tex"):
                if path.with_suffix(kind).is_file():
                    shutil.copyfile(
                        path.with_suffix(kind), folder / "tables" / f"{path.stem}{kind}"
                    )
        for path in figures:
            shutil.copyfile(path, folder / "figures" / path.name)
        for path in quality:
            its = folder / "quality" / path.name
            shutil.copytree(path, its, ignore=shutil.ignore_patterns(".*"))
            deeper = (path / "index.html").read_text("utf-8").replace('="../../', '="../../../')
            (its / "index.html").write_text(deeper, "utf-8")
        count = viewer.write(recipe, reals, samples, folder)
        shown = [table(path, recipe, names) for path in tables]
        page = viewer.template("index.html").render(
            name=recipe.name,
            scoreboard=[score for path in tables if (score := scoreboard(path))],
            tables=shown,
            figures=[captioned(path) for path in figures],
            datasets=[path.name for path in quality],
            costs=[rows_of(stages, "rule", "hours"), rows_of(costs, "model", "hours")],
            workflow=Markup((viewer.STATIC / "workflow.svg").read_text().partition("<svg")[2]),
            config=yaml.safe_dump(told["config"], sort_keys=False, width=120),
            versions=versions(told),
            volumes=count,
        )
        (folder / "index.html").write_text(page, encoding="utf-8")


Key = tuple[Any, ...]
"""Data set, size, model, sampler and seed of a set of scores."""


def copied(card: Path, folder: Path) -> tuple[Key, str]:
    """Whose scores a file has, and the name that it gets in the report."""
    keys = ("dataset", "size", "model", "sampler", "seed")
    about = read_json(card, *keys)
    key = tuple(about[one] for one in keys)
    name = "_".join(map(str, key)).replace(" ", "-") + ".json"
    shutil.copyfile(card, folder / name)
    return key, name


def table(path: Path, recipe: SiteRecipe, names: dict[Key, str]) -> dict[str, Any]:
    """A table as HTML, and the cards of its rows."""
    return {
        "name": path.stem,
        "html": in_html(path.read_text(encoding="utf-8")),
        "csv": path.with_suffix(".csv").is_file(),
        "tex": path.with_suffix(".tex").is_file(),
        "cards": sorted({names[one] for one in recipe.cards.get(path.stem, []) if one in names}),
    }


def in_html(text: str) -> Markup:
    """Markdown as HTML; nothing in it is taken for HTML."""
    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").render(text))


def scoreboard(path: Path) -> dict[str, Any] | None:
    """How many rows of a table have which verdict; none of a table that has no verdicts."""
    if not path.with_suffix(".csv").is_file():
        return None
    frame = read_frame(path.with_suffix(".csv"))
    if "verdict" not in frame:
        return None
    counts = frame["verdict"].value_counts()
    number = path.stem.removeprefix("table_")
    return {
        "table": path.stem,
        "title": f"Table {number}",
        "reproduced": int(counts.get(REPRODUCED, 0)),
        "failed": int(counts.get(NOT_REPRODUCED, 0)),
        "incomparable": int(counts.get(NOT_COMPARABLE, 0)),
    }


def captioned(path: Path) -> dict[str, Any]:
    """A figure's file, what it shows, and how wide a page shows it, in pixels of a screen."""
    kind = max((one for one in FIGURES if path.stem.startswith(one)), key=len, default="")
    rest = path.stem.removeprefix(kind).strip("_")
    title = FIGURES.get(kind, path.stem) + (f" ({rest})" if kind and rest else "")
    with Image.open(path) as picture:
        width = round(picture.width / DOTS_PER_INCH * SCREEN)
    return {"name": path.stem, "file": path.name, "title": title, "width": width}


def rows_of(path: Path, *columns: str) -> dict[str, Any]:
    """A table of costs that has these columns at least: its columns and its rows as text."""
    frame = read_frame(path, *columns).round(3)
    cells = frame.astype(object).where(frame.notna(), "")
    return {"columns": list(frame.columns), "rows": cells.to_numpy().tolist()}


def versions(told: dict[str, Any]) -> list[tuple[str, str]]:
    """Of this package, Python, and the packages that reports are made with."""
    found = [("prdit", told["prdit"]), ("Python", told["machine"]["python"])]
    return found + [(name, told["packages"][name]) for name in PACKAGES]
