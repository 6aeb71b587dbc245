"""`--profile slurm` on a real scheduler of one node, with jobs that are killed as clusters do."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml
from cluster import Cluster, Job, install, possible
from test_workflow import MICRO, STAGE_1, TRAINING

from prdit.cli import main
from prdit.config.entry import laid_over

ROOT = Path(__file__).resolve().parents[1]
LOCAL = ROOT / "results" / "quickstart"
SHIPPED = ROOT / "workflow" / "profiles" / "slurm" / "config.yaml"
SITE = ROOT / "tests" / "slurm" / "site.yaml"
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(not possible(), reason="needs root and apt-get, to install SLURM"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    install()
    one = Cluster(tmp_path_factory.mktemp("slurm"))
    yield one
    one.stop()


@pytest.fixture
def checkout(workflow_copy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the workflow, in whose profile this site's settings are written."""
    monkeypatch.setenv("PRDIT_CPU", "1")  # the GPUs that jobs are given are none
    profile(workflow_copy / "slurm" / "config.yaml")
    return workflow_copy


def profile(path: Path, **changes: object) -> None:
    """Write the shipped profile with this site's settings, and changes to them."""
    shipped, here = (yaml.safe_load(one.read_text()) for one in (SHIPPED, SITE))
    path.write_text(yaml.safe_dump(laid_over(laid_over(shipped, here), changes)))


def command(config: str, *words: str) -> list[str]:
    """The README's command."""
    return ["snakemake", "--profile", "slurm", "--configfile", config, *words]


class Disturber:
    """Kills one training by scancel and preempts another, each once its loss is in its log."""

    def __init__(self, cluster: Cluster, models: Path, cancelled: str, preempted: str) -> None:
        self.cluster, self.models = cluster, models
        self.left = {cancelled: cluster.cancel, preempted: lambda _: cluster.preempt()}
        self.seen: dict[str, Job] = {}

    def look(self) -> None:
        for job in self.cluster.jobs():
            self.seen[job.id] = job
            if job.state == "RUNNING" and "rule_train" in job.comment:
                for model in [name for name in self.left if name in job.comment]:
                    if any(self.models.glob(f"*/*/{model}/states/*/log.jsonl")):
                        self.left.pop(model)(job)

    def jobs(self, model: str, state: str) -> list[Job]:
        """Jobs of a model's training that ended so."""
        return [job for job in self.trainings(model) if job.state == state]

    def restarted(self, model: str) -> list[Job]:
        """Jobs of a model's training that went back to the queue, and ran again."""
        return [job for job in self.trainings(model) if job.restarts]

    def trainings(self, model: str) -> list[Job]:
        return [
            job
            for job in self.seen.values()
            if "rule_train" in job.comment and model in job.comment
        ]


def followed(words: list[str], folder: Path, look: Disturber) -> str:
    """What a run printed; `look` looks twice a second."""
    log = folder / "run.log"
    with log.open("w") as file:
        run = subprocess.Popen(words, cwd=folder, stdout=file, stderr=file)
        while run.poll() is None:
            look.look()
            time.sleep(0.5)
        look.look()
    assert run.returncode == 0, log.read_text()[-5000:]
    return log.read_text()


def test_the_quickstart_is_killed_three_ways_and_ends_with_the_same_numbers(
    cluster: Cluster, checkout: Path
) -> None:
    if not (LOCAL / "tables" / "table_1.csv").exists():
        pytest.fail("run `make quickstart` first")
    results = checkout / "results" / "quickstart"
    look = Disturber(cluster, results / "models", cancelled="PRDiT-4L", preempted="PRDiT-8L")
    started = time.monotonic()
    said = followed(command("config/quickstart.yaml"), checkout, look)
    print(f"quickstart on the cluster: {time.monotonic() - started:.0f} s")
    local = set(re.findall(r"^localrule (\w+):", said, re.MULTILINE))
    assert local - {"train"} == {"all"}  # of trainings that were killed, their own logs are shown
    assert look.jobs("PRDiT-4L", "CANCELLED")
    assert look.jobs("PRDiT-12L", "TIMEOUT")
    assert look.restarted("PRDiT-8L")
    for model in ("PRDiT-local", "PRDiT-4L", "PRDiT-8L", "PRDiT-12L"):
        there, here = (
            json.loads((one / "models/phantom/16" / model / "run.json").read_text())
            for one in (results, LOCAL)
        )
        assert there["sha256"] == here["sha256"], model
    for name in ("scores.csv", "tables/table_1.csv", "tables/table_4.csv"):
        pd.testing.assert_frame_equal(pd.read_csv(results / name), pd.read_csv(LOCAL / name))


@pytest.mark.usefixtures("cluster")
def test_doctor_sees_what_does_not_suit_the_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "config.yaml"
    fresh = tmp_path / "fresh.yaml"
    fresh.write_text("name: fresh")  # of the quickstart itself, no job may be left to run
    words = ["doctor", "--configfile", str(ROOT / "config/quickstart.yaml"), str(fresh)]
    words.append("--profile")
    written.write_text(SHIPPED.read_text())
    assert main([*words, str(tmp_path)]) == 2
    said = capsys.readouterr().out
    assert "PROBLEM  there is no accounting" in said
    assert "write `slurm-status-command: squeue`" in said
    assert "PROBLEM  sbatch refuses" in said  # 64 GB and 8 processors, on a small machine

    profile(written, **{"default-resources": {"slurm_partition": "nosuch"}})
    assert main([*words, str(tmp_path)]) == 2
    said = capsys.readouterr().out
    assert "PROBLEM  there is no partition nosuch: write one of those there are (high, m" in said

    profile(written)
    assert main([*words, str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "ok       sbatch takes --gpus=1 with --partition=main, as the profile asks" in said
    assert "PROBLEM" not in said


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"slurm_partition": "nosuch"}, "invalid partition specified: nosuch"),
        ({"gpu": 3}, "Requested node configuration is not available"),
    ],
)
def test_what_slurm_refuses_is_told_at_submission(
    changes: dict[str, object], sentence: str, workflow_copy: Path
) -> None:
    (workflow_copy / "micro.yaml").write_text(yaml.safe_dump(MICRO))
    changed = {"default-resources": changes, "retries": 0}
    profile(workflow_copy / "slurm" / "config.yaml", **changed)
    words = command("micro.yaml")
    done = subprocess.run(words, cwd=workflow_copy, capture_output=True, text=True)
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr


def test_every_rule_that_runs_something_is_submitted(cluster: Cluster, checkout: Path) -> None:
    (checkout / "micro.yaml").write_text(yaml.safe_dump({**MICRO, "figures": {}}))
    look = Disturber(cluster, checkout / "results/micro/models", "none", "none")
    said = followed(command("micro.yaml", "--", "table_1"), checkout, look)
    assert set(re.findall(r"^localrule (\w+):", said, re.MULTILINE)) == {"table_1"}
    assert any("rule_table" in job.comment for job in look.seen.values())


def test_two_processes_share_a_training_that_is_killed(cluster: Cluster, checkout: Path) -> None:
    models = {"local": {**STAGE_1, "training": {**TRAINING, "volumes": 12000}}}
    table = {**MICRO["tables"]["table_1"], "rows": ["local"]}  # type: ignore[index]
    changes = {"models": models, "tables": {"table_1": table}, "figures": {}}
    (checkout / "micro.yaml").write_text(yaml.safe_dump({**MICRO, **changes}))
    weights = "results/micro/models/chests/8/local/weights.safetensors"
    look = Disturber(cluster, checkout / "results/micro/models", "local", "none")
    two = {"processes": 2, "gpu": 2, "mem_mb": 3000, "runtime": 10}
    changed = {"set-resources": {"train": two}, "set-threads": {"train": 2}}
    profile(checkout / "slurm" / "config.yaml", **changed)
    followed(command("micro.yaml", "--", weights), checkout, look)
    assert look.jobs("local", "CANCELLED")
    record = json.loads((checkout / weights).with_name("run.json").read_text())
    assert (record["status"], record["processes"]) == ("ok", 2)
    log = (checkout / weights).with_name("training.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["volumes"] == 12000
