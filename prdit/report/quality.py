"""What became of every series of a collection, as a page to look at: numbers, reasons, pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from jinja2 import Environment

from prdit.data.ledger import FIELDS
from prdit.data.quality import QualityRow, read_rows
from prdit.data.volume import read_nifti
from prdit.files import atomic_folder, read_csv, read_json
from prdit.recipes import QualityRecipe
from prdit.report.contact import WINDOW, Tile, sheets
from prdit.report.figures import save

SHOWN = {
    "spacing_z": "slice step, mm",
    "spacing_x": "pixel spacing, mm",
    "extent_z": "extent along z, mm",
    "lung_ml": "lung in the cube, ml",
    "lung_kept": "share of the lungs in the cube",
    "pad_fraction": "share of the cube outside the scan",
}
"""Facts that are drawn as histograms."""


def run(recipe: QualityRecipe, *, ledger: Path, split: Path, summary: Path, page: Path) -> None:
    """Write a folder with index.html, histograms and contact sheets of all usable volumes.

    Args:
        ledger: rows of all series.
        split: the usable series, beside their volumes.
        summary: of the ledger.
        page: the folder to write.
    """
    rows = read_rows(ledger)
    with atomic_folder(page) as folder:
        draw_histograms(rows, folder / "histograms.png")
        names = []
        chosen = read_csv(split, FIELDS)
        for number, sheet in enumerate(sheets(_tiles(chosen, split.parent))):
            names.append(f"sheet_{number:02d}.png")
            sheet.save(folder / names[-1])
        told = read_json(summary, "series", "ok", "fixed", "excluded", "look_at", "cohort")
        parts = {one["series_uid"]: one["part"] for one in chosen}
        content = html(recipe, page.name, rows, told, parts, names)
        (folder / "index.html").write_text(content, encoding="utf-8")


def _tiles(chosen: list[dict[str, str]], folder: Path) -> Iterator[Tile]:
    """The usable volumes, by their numbers in the table of the page."""
    for number, one in enumerate(chosen, start=1):
        readable = one["patient_id"] if one["patient_id"].isascii() else ""
        volume = read_nifti(folder / one["file"])
        yield Tile(f"{number}  {readable[-24:]}  {one['part']}", volume.hu)


def draw_histograms(rows: Sequence[QualityRow], path: Path) -> None:
    """How the facts in `SHOWN` are distributed over all series that have them."""
    figure, axes = plt.subplots(2, 3, figsize=(10, 5), layout="constrained")
    for axis, (name, words) in zip(axes.flat, SHOWN.items(), strict=True):
        values = [value for row in rows if (value := getattr(row, name)) is not None]
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        reach = None if high - low > 1e-6 * abs(high) else (0.9 * low, 1.1 * low or 1.0)
        axis.hist(values, bins=30, range=reach, color="#4477aa")
        axis.locator_params(axis="x", nbins=5)
        axis.set_xlabel(words)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("series")
    axes[1, 0].set_ylabel("series")
    save(figure, path, dots=110)


def html(
    recipe: QualityRecipe,
    dataset: str,
    rows: Sequence[QualityRow],
    summary: dict[str, Any],
    parts: dict[str, str],
    names: list[str],
) -> str:
    """The page; whatever comes from a header is escaped."""
    numbers = {uid: number for number, uid in enumerate(parts, start=1)}
    return (
        Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        .from_string(PAGE)
        .render(
            label=recipe.dataset,
            dataset=dataset,
            rows=rows,
            parts=parts,
            numbers=numbers,
            grid=recipe.grid,
            summary=summary,
            excluded=[row for row in rows if row.status == "excluded"],
            fixed=[row for row in rows if row.status == "fixed"],
            window=WINDOW,
            sheets=names,
        )
    )


PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ label }}: what became of every series</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 100rem; margin: 1rem; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .2rem .8rem .2rem 0; }
th { border-bottom: 1px solid #888; } td { border-bottom: 1px solid #ddd; vertical-align: top; }
td.id { font-family: ui-monospace, monospace; font-size: 12px; } img { max-width: 100%; }
</style>
<h1>{{ label }}: what became of every series</h1>
<p><strong>{{ summary.series }} series = {{ summary.ok }} ok + {{ summary.fixed }} fixed +
{{ summary.excluded }} excluded</strong>, of {{ summary.patients }} patients.
{% for part, n in summary.parts | dictsort %}
{{ n }} {{ part }}{{ "," if not loop.last else "." }}
{% endfor %}
Volumes of {{ grid.size }}<sup>3</sup> voxels of {{ "%g" | format(grid.spacing_mm) }} mm, cut
around the {{ "middle of the scan" if grid.crop == "center" else "lungs" }}.
Cohort <code>{{ summary.cohort }}</code>. All facts of all series:
<a href="../../volumes/{{ dataset }}/quality.csv">quality.csv</a>.</p>
{% macro listing(title, found, words) %}
<h2>{{ title }} ({{ found | length }})</h2>
{% if found %}
<table><tr><th>series<th>patient<th>{{ words }}<th>where it lay
{% for row in found %}
<tr><td class="id">{{ row.series_uid }}<td>{{ row.patient_id }}<td>{{ row.reason or row.flags }}
<td class="id">{{ row.path }}
{% endfor %}
</table>
{% else %}<p>None.</p>{% endif %}
{% endmacro %}
{{ listing("Excluded", excluded, "why") }}
{{ listing("Fixed", fixed, "what was mended") }}
<h2>Usable, but deserves a look ({{ summary.look_at | length }})</h2>
{% if summary.look_at %}
<table><tr><th>series<th>why
{% for uid, why in summary.look_at | dictsort %}<tr><td class="id">{{ uid }}<td>{{ why }}
{% endfor %}
</table>
{% else %}<p>None.</p>{% endif %}
<h2>Distributions</h2>
<img src="histograms.png" alt="Histograms of spacing, extent, lung volume and padding">
<h2>Every usable volume</h2>
<p>Axial, coronal and sagittal slice, the patient's right at left; HU window
[{{ "%g" | format(window[0]) }},
{{ "%g" | format(window[1]) }}].</p>
{% for name in sheets %}<img src="{{ name }}" alt="Contact sheet {{ loop.index }}">
{% endfor %}
<h2>All series</h2>
<table><tr><th>number<th>series<th>patient<th>status<th>part<th>lung, ml<th>where it lay
{% for row in rows %}
<tr><td>{{ numbers[row.series_uid] }}<td class="id">{{ row.series_uid }}<td>{{ row.patient_id }}
<td>{{ row.status }}<td>{{ parts[row.series_uid] }}
<td>{{ "%.0f" | format(row.lung_ml) if row.lung_ml is not none }}<td class="id">{{ row.path }}
{% endfor %}
</table>
</html>
"""
