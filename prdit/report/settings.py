"""Tables 9 and 10: what the models are and how they are trained, from the config as it is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prdit.config import PRDiT
from prdit.files import atomic
from prdit.recipes import SettingsRecipe
from prdit.report.markdown import line
from prdit.report.published import read

Setting = Callable[[PRDiT], Any]
SHARED: dict[str, Setting] = {
    "Patch size": lambda m: " x ".join([str(m.patch)] * 3),
    "Stride": lambda m: m.stride,
    "Padding": lambda m: (m.patch - m.stride) // 2,
}
TRAINED: dict[str, Setting] = {
    "Timesteps": lambda m: m.timesteps,
    "Standard deviation of noise": lambda m: m.noise_std,
    "Learning rate": lambda m: m.training.learning_rate,
    "Batch": lambda m: m.training.batch,
    "Volumes seen": lambda m: f"{m.training.volumes:,}",
    "Largest gradient norm": lambda m: m.training.clip,
    "EMA": lambda m: m.training.ema,
    "Precision on a GPU": lambda m: m.training.precision,
}
LOCAL = {**SHARED, "Hidden size": lambda m: m.patch**3, **TRAINED}
GLOBAL = {
    **SHARED,
    "Depth": lambda m: m.depth,
    "Hidden size": lambda m: m.width,
    "Heads": lambda m: m.heads,
    **TRAINED,
}
TITLES = (
    "**Table 9.** The Local Denoiser (stage 1) of the models shown.",
    "**Table 10.** The Global Residual DiT (stage 2) of the models shown.",
)


def run(recipe: SettingsRecipe, *, published: Path, stage_1: Path, stage_2: Path) -> None:
    """Write both tables as Markdown.

    Args:
        stage_1, stage_2: Tables 9 and 10.
    """
    papers = read(published, "table_9", "table_10")
    both = zip(TITLES, (LOCAL, GLOBAL), ("table_9", "table_10"), (stage_1, stage_2), strict=True)
    for title, settings, key, path in both:
        models = [m for m in recipe.models if (m.depth > 0) == (settings is GLOBAL)]
        text = in_markdown(title, models, settings, papers[key])
        with atomic(path) as partial:
            partial.write_text(text, encoding="utf-8")


def in_markdown(
    title: str, models: list[PRDiT], settings: dict[str, Setting], paper: dict[str, Any]
) -> str:
    """A row for each setting: every value that some model has, the paper's beside them."""
    rows = [line(["Parameter", "ours", "paper"]), line(["---"] * 3)]
    for name, setting in settings.items():
        values = dict.fromkeys(str(setting(model)) for model in models)
        rows.append(line([name, ", ".join(values) or "-", str(paper.get(name, "-"))]))
    return "\n".join([title, "", *rows, ""])
