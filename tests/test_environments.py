"""Each conda environment's pip section installs, and holds what the rules that name it import."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


def steps(env: str) -> set[str]:
    """Verbs that rules run in an environment."""
    found: set[str] = set()
    for path in (ROOT / "rules").glob("*.smk"):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE):
            if f'"../envs/{env}.yaml"' in rule:
                found |= set(re.findall(r"python -m prdit ([a-z-]+)", rule))
    return found


def test_every_rule_has_an_environment() -> None:
    text = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    verbs = re.findall(r"python -m prdit ([a-z-]+)", text)
    envs = [path.stem for path in (ROOT / "envs").glob("*.yaml")]
    assert set(verbs) == {verb for env in envs for verb in steps(env)}


@pytest.mark.slow
@pytest.mark.parametrize("env", ["data", "train", "score", "report"])
def test_an_environment_installs_and_runs_its_steps(env: str, tmp_path: Path) -> None:
    (pins,) = (
        d["pip"]
        for d in yaml.safe_load((ROOT / f"envs/{env}.yaml").read_text())["dependencies"]
        if isinstance(d, dict)
    )
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *pins], check=True)
    for step in sorted(steps(env)):
        done = subprocess.run(
            [python, "-m", "prdit", step, "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    if env == "score":  # imported only once features are taken
        subprocess.run([python, "-c", "import prdit.metrics.features"], cwd=ROOT, check=True)
