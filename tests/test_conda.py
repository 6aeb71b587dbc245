"""`--sdm conda`, with a small script for conda: which environments jobs get, and with what."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from test_workflow import configure

from prdit.plan.dry_run import jobs

SCRIPT = """#!/bin/sh
case "$1 $2" in
"info --json") echo '{"conda_prefix": "HERE", "platform": "linux-64"}' ;;
"config --get") echo '{"get": {"channel_priority": "strict"}}' ;;
"env create") mkdir -p "$8" && cat "$6" >> HERE/created ;;
*) echo conda 25.1.0 ;;
esac
"""
SETTINGS = ("--configfile", "micro.yaml", "--cores", "2", "--profile")
ACTIVATE = 'echo "$1 ${TORCHINDUCTOR_CACHE_DIR-}" >> HERE/activated\n'


class Conda:
    """A conda that makes empty environments; jobs go on in that of the tests."""

    def __init__(self, folder: Path, checkout: Path) -> None:
        self.folder, self.checkout = folder, checkout
        (folder / "bin").mkdir(parents=True)
        for name, text in (("conda", SCRIPT), ("activate", ACTIVATE)):
            path = folder / "bin" / name
            path.write_text(text.replace("HERE", str(folder)))
            path.chmod(0o755)

    def run(self, *words: str, profile: str = "workflow/profiles/local") -> str:
        done = subprocess.run(
            ["snakemake", *SETTINGS, profile, *words, "--sdm", "conda", "--", "weights"],
            cwd=self.checkout,
            env={**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def created(self) -> str:
        """Files of the environments that were made."""
        return (self.folder / "created").read_text()

    def activated(self) -> set[tuple[str, str]]:
        """(environment, TORCHINDUCTOR_CACHE_DIR) of the jobs that ran."""
        lines = (self.folder / "activated").read_text().splitlines()
        return {(line.partition(" ")[0], line.partition(" ")[2]) for line in lines}

    def caches(self) -> set[str]:
        return {cache for _, cache in self.activated()}


@pytest.fixture
def conda(tmp_path: Path, workflow_copy: Path, monkeypatch: pytest.MonkeyPatch) -> Conda:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    configure(workflow_copy)
    return Conda(tmp_path / "conda", workflow_copy)


def test_another_build_of_torch_is_installed_and_nothing_runs_again(
    conda: Conda, monkeypatch: pytest.MonkeyPatch
) -> None:
    conda.run()
    assert len({environment for environment, _ in conda.activated()}) == 2  # data, train
    assert conda.caches() == {str(conda.checkout / "results/micro/.compile_cache")}
    assert "- torch==2.13.0\n" in conda.created()
    assert "https://" not in conda.created()

    other = ("--config", "torch_build=cu126")
    assert "Nothing to be done" in conda.run("-n", *other)
    # What Snakemake would do if the profile did not say otherwise.
    assert "Software environment definition has changed" in conda.run("-n", *other, profile="none")

    monkeypatch.chdir(conda.checkout)  # `plan` and `doctor`, whose dry run knows no conda
    assert "train" not in {job.rule for job in jobs([Path("micro.yaml")])}

    conda.checkout = conda.checkout.rename(conda.folder / "moved")
    assert "Nothing to be done" in conda.run("-n")

    conda.run("--forcerun", "train", *other)
    assert "- --extra-index-url https://download.pytorch.org/whl/cu126\n" in conda.created()
    assert "- torch==2.13.0+cu126\n" in conda.created()
    log = (conda.checkout / "results/micro/logs/train/chests/8/local.log").read_text()
    assert log.startswith("going on from 16 volumes"), log  # all that it trains with


def test_where_compiled_code_goes_is_the_users_choice(
    conda: Conda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    conda.run("--until", "phantom")
    assert conda.caches() == {"/elsewhere"}


def test_a_cache_that_cannot_be_written_is_left_to_torch(conda: Conda) -> None:
    (conda.checkout / "results/micro").mkdir()
    (conda.checkout / "results/micro/.compile_cache").touch()
    conda.run("--until", "phantom")
    assert conda.caches() == {""}
