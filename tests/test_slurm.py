"""`--profile slurm` on a real scheduler of one node, with jobs that are killed as clusters do."""

from __future__ import annotations

import json
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

ROOT = Path(__file__).resolve().parents[1]
LOCAL = ROOT / "results" / "quickstart"
SITE = ROOT / "tests" / "slurm" / "site"
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


def command(config: str, *words: str) -> list[str]:
    """The README's command, with what this site differs in."""
    return [
        *("snakemake", "--profile", "slurm", "--workflow-profile", str(SITE)),
        *("--configfile", config, *words),
    ]


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
    cluster: Cluster, workflow_copy: Path
) -> None:
    if not (LOCAL / "tables" / "table_1.csv").exists():
        pytest.fail("run `make quickstart` first")
    results = workflow_copy / "results" / "quickstart"
    look = Disturber(cluster, results / "models", cancelled="PRDiT-4L", preempted="PRDiT-8L")
    started = time.monotonic()
    followed(command("config/quickstart.yaml"), workflow_copy, look)
    print(f"quickstart on the cluster: {time.monotonic() - started:.0f} s")
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


def site(folder: Path, **changes: object) -> str:
    """The shipped profile with changes."""
    shipped = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump({**shipped, **changes}))
    return str(folder)


@pytest.mark.usefixtures("cluster")
def test_doctor_sees_what_does_not_suit_the_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nosuch = {"mem_mb": 100, "runtime": 5, "slurm_partition": "nosuch"}
    profile = site(tmp_path / "one", **{"default-resources": nosuch})
    words = ["doctor", "--configfile", str(ROOT / "config/quickstart.yaml"), "--profile"]
    assert main([*words, profile]) == 2
    said = capsys.readouterr().out
    assert "PROBLEM  there is no partition nosuch: write one of those there are (high, m" in said
    assert "PROBLEM  there is no accounting" in said
    assert "write `slurm-status-command: squeue`" in said

    fitting = {"slurm-status-command": "squeue", "software-deployment-method": "env-modules"}
    assert main([*words, site(tmp_path / "two", **fitting)]) == 0
    said = capsys.readouterr().out
    assert "ok       sbatch takes --gpus=1 with the default partition" in said
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
    changes: dict[str, object], sentence: str, workflow_copy: Path, tmp_path: Path
) -> None:
    (workflow_copy / "micro.yaml").write_text(yaml.safe_dump(MICRO))
    here = yaml.safe_load((SITE / "config.yaml").read_text())
    asked = {**here["default-resources"], **changes}
    profile = site(tmp_path / "site", **{**here, "default-resources": asked, "retries": 0})
    done = subprocess.run(
        ["snakemake", "--profile", profile, "--configfile", "micro.yaml"],
        cwd=workflow_copy,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr


def test_two_processes_share_a_training_that_is_killed(
    cluster: Cluster, workflow_copy: Path
) -> None:
    models = {"local": {**STAGE_1, "training": {**TRAINING, "volumes": 12000}}}
    table = {**MICRO["tables"]["table_1"], "rows": ["local"]}  # type: ignore[index]
    changes = {"models": models, "tables": {"table_1": table}, "figures": {}}
    (workflow_copy / "micro.yaml").write_text(yaml.safe_dump({**MICRO, **changes}))
    weights = "results/micro/models/chests/8/local/weights.safetensors"
    look = Disturber(cluster, workflow_copy / "results/micro/models", "local", "none")
    two = ["train:processes=2", "train:gpu=2", "train:mem_mb=3000", "train:runtime=10"]
    followed(
        command("micro.yaml", "--set-resources", *two, "--set-threads", "train=2", "--", weights),
        workflow_copy,
        look,
    )
    assert look.jobs("local", "CANCELLED")
    record = json.loads((workflow_copy / weights).with_name("run.json").read_text())
    assert (record["status"], record["processes"]) == ("ok", 2)
    log = (workflow_copy / weights).with_name("training.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["volumes"] == 12000
