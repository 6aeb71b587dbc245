"""Code digests: what a result depends on, and what it does not. And the walls between rooms."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prdit import digests
from prdit.cli import STEPS

ROOT = Path(__file__).resolve().parents[1]


STEP = """\
'''Module.'''
import math
from prdit.metrics import distances, scale as scaling
from prdit.metrics.names import shared
LIMIT = 3
UNUSED = 4

def run(x):
    from prdit.data import late
    return Judge().of(x) + distances.near(x) + shared() + late.load(x)

class Base:
    def of(self, x):
        return min(x, LIMIT)

class Judge(Base):
    pass

def apart(x):
    return UNUSED + scaling.wide(x) + math.pi
"""
FILES = {
    "metrics/step.py": STEP,
    "metrics/distances.py": "import numpy as np\nNEAR = 1\n\ndef near(x):\n    return NEAR\n\n"
    "def far(x):\n    return np.inf\n",
    "metrics/scale.py": "print('imported')\n\ndef wide(x):\n    return 1\n",
    "metrics/names.py": "from prdit.metrics.deep import shared\n",
    "metrics/deep.py": "def shared():\n    return 5\n",
    "data/late.py": "def load(x):\n    return 6\n",
    "training/fit.py": "def run(model):\n    return model.build().learn()\n",
    "training/show.py": "def run(model):\n    return getattr(model.build(), 'draw')()\n",
    "generators/base.py": "from abc import ABC\n\nclass Model(ABC):\n    pass\n",
    "generators/mine.py": """\
from prdit.generators.base import Model

def build():
    return Mine()

class Mine(Model):
    def __init__(self):
        self.size = 7

    def learn(self):
        return self.size + self.rate()

    def rate(self):
        return 8

    def draw(self):
        return picture()

def picture():
    return 9
""",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(digests, "PACKAGE", tmp_path)
    forget()
    yield tmp_path
    forget()


def forget() -> None:
    cached = (digests.uses, digests.attributes, digests.aliases, digests.imported)
    for one in (digests.code_digest, digests.definitions, *cached):
        one.cache_clear()


@pytest.mark.parametrize(
    ("file", "before", "after", "counts"),
    [
        ("metrics/step.py", "'''Module.'''", "'''Another.'''\n# why", False),
        ("metrics/step.py", "min(x, LIMIT)", "min(\n    x,  # less\n    LIMIT)", False),
        ("metrics/step.py", "min(x", "max(x", True),  # of the base of a class that is used
        ("metrics/step.py", "LIMIT = 3", "LIMIT = 2", True),
        ("metrics/step.py", "UNUSED = 4", "UNUSED = 2", False),
        ("metrics/step.py", "math.pi", "math.e", False),
        ("metrics/step.py", "UNUSED = 4", "UNUSED = 4\nprint()", True),  # runs when imported
        ("metrics/distances.py", "NEAR = 1", "NEAR = 2", True),
        ("metrics/distances.py", "np.inf", "np.nan", False),
        ("metrics/distances.py", "import numpy as np", "import scipy as np", False),
        ("metrics/scale.py", "return 1", "return 2", False),
        ("metrics/scale.py", "'imported'", "'again'", True),
        ("metrics/deep.py", "return 5", "return 2", True),  # by way of another module
        ("data/late.py", "return 6", "return 2", True),  # imported inside a function
    ],
)
def test_what_a_step_can_reach_counts(
    file: str, before: str, after: str, counts: bool, package: Path
) -> None:
    digest = digests.code_digest("prdit.metrics.step")
    assert before in FILES[file]
    (package / file).write_text(FILES[file].replace(before, after))
    forget()
    assert (digests.code_digest("prdit.metrics.step") != digest) == counts


@pytest.mark.parametrize(
    ("number", "fit", "show"), [("7", True, True), ("8", True, False), ("9", False, True)]
)
def test_a_generator_counts_by_what_a_step_calls_of_it(
    number: str, fit: bool, show: bool, package: Path
) -> None:
    def found() -> list[str]:
        steps = ("prdit.training.fit", "prdit.training.show")
        return [digests.code_digest(step, "prdit.generators.mine") for step in steps]

    before = found()
    text = FILES["generators/mine.py"].replace(number, "0")
    (package / "generators/mine.py").write_text(text)
    forget()
    changed = [old != new for old, new in zip(before, found(), strict=True)]
    assert changed == [fit, show]


@pytest.mark.parametrize("generator", ["prdit", "prdit_refined", "ha_gan", "ldm_3d", "wdm_3d"])
def test_a_training_does_not_depend_on_how_its_model_draws(generator: str) -> None:
    module = f"prdit.generators.{generator}"
    trained = digests.closure(STEPS["train"], module)
    drawn = digests.closure(STEPS["sample"], module)
    assert not {"walk", "conventional"} & trained.get("prdit.diffusion.samplers", set())
    assert any(name.endswith(".drawing") for names in drawn.values() for name in names)
    assert any(name.endswith(".optimizers") for names in trained.values() for name in names)


def test_all_of_a_module_that_is_passed_on_counts(package: Path) -> None:
    def digest(far: str) -> str:
        (package / "metrics/step.py").write_text(STEP.replace("near(x)", "near(vars(distances))"))
        text = FILES["metrics/distances.py"].replace("np.inf", far)
        (package / "metrics/distances.py").write_text(text)
        forget()
        return digests.code_digest("prdit.metrics.step")

    assert digest("np.inf") != digest("np.nan")


def closure(step: str, *generators: str) -> set[str]:
    return set(digests.closure(STEPS[step], *(f"prdit.generators.{one}" for one in generators)))


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
    for path in (ROOT / "prdit" / room).rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for name in digests.imported(module):
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
