"""Code digests: what a result depends on, and what it does not. And the walls between rooms."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prdit import digests
from prdit.cli import STEPS

ROOT = Path(__file__).resolve().parents[1]


def digest(source: str, tmp_path: Path, name: str) -> str:
    path = tmp_path / f"{name}.py"
    path.write_text(source)
    return digests.normalised(path)


def test_comments_docstrings_and_formatting_change_nothing(tmp_path: Path) -> None:
    plain = "def f(a, b):\n    return a + b\n"
    dressed = (
        '"""Module."""\n# why\ndef f(\n    a,\n    b,\n):\n    """Add."""\n\n    return (a + b)\n'
    )
    other = "def f(a, b):\n    return a - b\n"
    assert digest(plain, tmp_path, "a") == digest(dressed, tmp_path, "b")
    assert digest(plain, tmp_path, "a") != digest(other, tmp_path, "c")


def closure(step: str, *generators: str) -> set[str]:
    return digests.closure((STEPS[step], *(f"prdit.generators.{g}" for g in generators)))


def test_a_training_depends_on_its_model_and_on_no_metric() -> None:
    found = closure("train", "prdit")
    assert {"prdit.models.local_denoiser", "prdit.diffusion.noise", "prdit.training.loop"} <= found
    assert not [name for name in found if name.startswith(("prdit.metrics", "prdit.report"))]
    assert "prdit.config" not in found


def test_a_metric_depends_on_no_model() -> None:
    assert not [name for name in closure("score") if name.startswith("prdit.models")]
    assert "prdit.metrics.mmd" in closure("score")
    assert "prdit.metrics.mmd" not in closure("features")


@pytest.mark.parametrize("step", sorted(STEPS))
def test_every_step_has_a_digest(step: str) -> None:
    assert len(digests.code_digest(STEPS[step])) == 16


WALLS = {
    "models": ("prdit.models", "prdit.diffusion"),
    "diffusion": ("prdit.models", "prdit.diffusion"),
    "data": ("prdit.data",),
    "training": ("prdit.training", "prdit.generators", "prdit.diffusion.noise", "prdit.data.store"),
    "generators": (
        *("prdit.generators", "prdit.models", "prdit.diffusion"),
        *("prdit.data.volume", "prdit.data.store"),
    ),
    "metrics": ("prdit.metrics", "prdit.data", "prdit.diffusion.noise"),
    "critic": (
        *("prdit.critic", "prdit.training", "prdit.generators.base", "prdit.diffusion.noise"),
        *("prdit.data", "prdit.metrics.interval"),
    ),
    "report": ("prdit.report", "prdit.data"),
}


@pytest.mark.parametrize("room", sorted(WALLS))
def test_rooms_open_only_where_they_should(room: str) -> None:
    import ast

    for path in (ROOT / "prdit" / room).glob("*.py"):
        for name in digests.imports(ast.parse(path.read_text())):
            assert name.startswith(WALLS[room]), f"{path.name} imports {name}"


def test_the_loop_knows_no_architecture() -> None:
    assert not [n for n in closure("train") if n.startswith("prdit.models")]


@pytest.mark.parametrize(
    "module",
    ["prdit.cli", "prdit.config.file", "prdit.instructions", "prdit.digests", "prdit.data.own"],
)
def test_planning_and_data_jobs_never_import_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
