"""A page that shows volumes in a browser, from disk: NiiVue, and the volumes beside it."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, Template

from prdit.config.data import PRESETS
from prdit.data.samples import sample_paths
from prdit.data.store import open_store
from prdit.data.volume import Volume, from_window, write_nifti
from prdit.recipes import SiteRecipe

HERE = Path(__file__).parent
STATIC = HERE / "static"
EACH = 2
"""Volumes of each set."""
MOST_BYTES = 60 * 2**20
"""Of all volumes as a page holds them: what a browser loads in a moment."""


def write(recipe: SiteRecipe, reals: list[Path], cards: list[Path], folder: Path) -> int:
    """Write viewer.html and what it needs; returns how many volumes it shows.

    Args:
        reals: packed arrays, in the order of `recipe.reals`.
        cards: first cards of sets of samples, in the order of `recipe.samples`.
    """
    kept, made, size = [], [], 0
    for name, generated, content in volumes(recipe, reals, cards, folder):
        encoded = base64.b64encode(content).decode("ascii")
        size += len(encoded)
        if size > MOST_BYTES:
            break
        kept.append({"name": name, "base64": encoded})
        made.append(generated)
    if not kept:
        return 0
    (folder / "volumes.js").write_text(f"const VOLUMES = {json.dumps(kept)};\n", encoding="utf-8")
    for name in ("niivue.umd.js", "niivue.LICENSE.txt"):
        shutil.copyfile(STATIC / name, folder / name)
    windows = [
        {"name": name.replace("_", " "), "low": one.low, "high": one.high}
        for name, one in PRESETS.items()
        if one.quantile is None
    ]
    second = made.index(True) if True in made else 1
    text = template("viewer.html").render(name=recipe.name, windows=windows, second=second)
    (folder / "viewer.html").write_text(text, encoding="utf-8")
    return len(kept)


def volumes(
    recipe: SiteRecipe, reals: list[Path], cards: list[Path], folder: Path
) -> Iterator[tuple[str, bool, bytes]]:
    """Name, whether it is generated, and NIfTI: of real volumes, held out, then of samples."""
    for name, path in zip(recipe.reals, reals, strict=True):
        store = open_store(path)
        chosen = [i for i, part in enumerate(store.parts) if part == "held-out"][:EACH]
        spacing = (store.spacing_mm,) * 3
        for number, i in enumerate(chosen):
            real = Volume(from_window(store.volume(i), *store.window), spacing)
            unfinished = folder / "real.nii.gz"
            write_nifti(unfinished, real, "real")
            yield f"{name}, real #{number}", False, unfinished.read_bytes()
            unfinished.unlink()
    for name, card in zip(recipe.samples, cards, strict=True):
        for number, path in enumerate(sample_paths(card, EACH)):
            yield f"{name} #{number}", True, path.read_bytes()


def template(name: str) -> Template:
    """A page's template; what is put in is escaped."""
    return Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True).get_template(
        name
    )
