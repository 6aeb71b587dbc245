"""The workflow and its trainings, killed and started again; and a model that is too large."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
from test_workflow import MICRO, STAGE_1, TRAINING, configure, edit, planned, run

WEIGHTS = "results/micro/models/chests/8/local/weights.safetensors"
LOG = "results/micro/logs/train/chests/8/local.log"


def longer(folder: Path, volumes: int) -> None:
    """The micro config with a stage 1 that takes some seconds."""
    training = {**TRAINING, "volumes": volumes}
    stage_1 = {**STAGE_1, "training": training}
    configure(folder, models={**MICRO["models"], "local": stage_1})  # type: ignore[dict-item]


def wait_for_a_state(folder: Path, seconds: float = 120) -> None:
    for _ in range(int(seconds / 0.05)):
        if list(folder.glob("results/micro/models/chests/8/local/states/*/log.jsonl")):
            return
        time.sleep(0.05)
    raise AssertionError("no training has begun")


def test_killed_with_snakemake_it_goes_on_to_the_same_weights(workflow_copy: Path) -> None:
    """kill -9 of Snakemake, the shell and the training at once, as a node that dies."""
    longer(workflow_copy, 4000)
    edit(workflow_copy / "rules/train.smk", " --adopt", " --save-every 0 --adopt")
    words = ["snakemake", "--configfile", "micro.yaml", "--profile", "workflow/profiles/local"]
    begun = subprocess.Popen(
        [*words, "--cores", "2", WEIGHTS],
        cwd=workflow_copy,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for_a_state(workflow_copy)
    time.sleep(1.5)
    os.killpg(begun.pid, signal.SIGKILL)
    begun.wait()
    assert not (workflow_copy / WEIGHTS).exists()
    # Snakemake asks for its lock to be lifted only if it died; the same command is enough if not.
    done = run(workflow_copy, WEIGHTS)
    if "Directory cannot be locked" in done.stdout:
        assert run(workflow_copy, "--unlock").returncode == 0
        done = run(workflow_copy, WEIGHTS)
    assert done.returncode == 0, done.stdout
    assert "going on from" in (workflow_copy / LOG).read_text()
    parts = (workflow_copy / WEIGHTS).read_bytes()
    (workflow_copy / WEIGHTS).unlink()
    for state in workflow_copy.glob("results/micro/models/chests/8/local/states/*/*.safetensors"):
        state.unlink()
    assert run(workflow_copy, WEIGHTS).returncode == 0
    assert "going on from" not in (workflow_copy / LOG).read_text()
    assert (workflow_copy / WEIGHTS).read_bytes() == parts


def test_a_time_limit_is_retried_and_an_edit_undone_is_free(workflow_copy: Path) -> None:
    longer(workflow_copy, 6000)
    rule = workflow_copy / "rules/train.smk"
    first = "time_limit=lambda wildcards, attempt: 5 if attempt == 1 else 0,"
    edit(rule, "time_limit=0,", first)
    edit(rule, "{resources.time_limit}", "0.0{resources.time_limit}")  # minutes
    done = run(workflow_copy, "--retries", "1", WEIGHTS)
    assert done.returncode == 0, done.stdout
    assert "Trying to restart job" in done.stdout
    assert "going on from" in (workflow_copy / LOG).read_text()

    weights = (workflow_copy / WEIGHTS).read_bytes()
    loop = workflow_copy / "prdit/training/loop.py"
    edit(loop, "LINES = 50", "LINES = 40")
    assert "train" in planned(workflow_copy)
    adopted = run(workflow_copy, "--set-resources", "train:adopt=proven", "--", WEIGHTS)
    assert adopted.returncode == 0, adopted.stdout
    assert "is taken over, which differs:\n  code: " in (workflow_copy / LOG).read_text()
    assert (workflow_copy / WEIGHTS).read_bytes() == weights
    edit(loop, "LINES = 40", "LINES = 50")
    assert run(workflow_copy, WEIGHTS).returncode == 0
    assert '"step"' not in (workflow_copy / LOG).read_text()
    assert (workflow_copy / WEIGHTS).read_bytes() == weights


def test_out_of_memory_goes_through_to_the_table(workflow_copy: Path) -> None:
    """A row whose model is too large, beside one that is not; the workflow ends well."""
    huge = {**STAGE_1, "patch": 14, "training": {**TRAINING, "memory_gib": 0.5}}
    table = {**MICRO["tables"]["table_1"], "rows": ["PRDiT-4L", "huge"]}  # type: ignore[index]
    models = {**MICRO["models"], "huge": huge}  # type: ignore[dict-item]
    configure(workflow_copy, models=models, tables={"table_1": table}, figures={"figure_12": table})
    done = run(workflow_copy)
    assert done.returncode == 0, done.stdout
    rows = pd.read_csv(workflow_copy / "results/micro/tables/table_1.csv").set_index("Row")
    assert rows.loc["huge", "FID x10^3"] == "OOM"
    assert rows.loc["huge", "MMD"] == "OOM"
    assert float(rows.loc["PRDiT-4L", "FID x10^3"]) > 0
    assert "| OOM | OOM |" in (workflow_copy / "results/micro/tables/table_1.md").read_text()
    assert (workflow_copy / "results/micro/figures/figure_12_chests.png").is_file()
    assert planned(workflow_copy) == set()
