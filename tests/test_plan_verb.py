"""`prdit plan`: what would run, why, and what it takes, before it runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import test_workflow
import yaml

from prdit.cli import main
from prdit.config.file import load_file
from prdit.plan import tables
from prdit.plan.dry_run import parsed, sentence

ROOT = Path(__file__).resolve().parents[1]
TRAINING = {"volumes": 1000, "batch": 4, "learning_rate": 1e-3}
STAGE_1 = {**test_workflow.STAGE_1, "training": TRAINING}
MICRO = {
    **test_workflow.MICRO,
    "models": {"local": STAGE_1, "PRDiT-4L": {**STAGE_1, "start_from": "local", "depth": 1}},
    "evaluation": {"network": "resnet10", "reference": 4},
    "tables": {"table_1": test_workflow.TABLE, "table_4": test_workflow.TABLE},
    "figures": {},
}


def rows(text: str, heading: str) -> dict[str, list[str]]:
    """The table below a heading, by its first column."""
    below = text.split(f"## {heading}", 1)[1].split("\n## ")[0]
    lines = [line for line in below.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: rest for first, *rest in cells}


RULES, TABLES, SPENT = "What would run", "Per table", "Predicted and spent"


@pytest.fixture(scope="module")
def paper() -> str:
    words = [sys.executable, "-m", "prdit", "plan", "--configfile", "config/paper.yaml"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def micro(workflow_copy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the workflow with a config of its own, in which the tests stand."""
    monkeypatch.chdir(workflow_copy)
    Path("micro.yaml").write_text(yaml.safe_dump(MICRO))
    return workflow_copy


def planned(capsys: pytest.CaptureFixture[str], *configs: str) -> str:
    assert main(["plan", "--configfile", *configs]) == 0
    return capsys.readouterr().out


def test_the_papers_jobs_are_those_of_the_documented_plan(paper: str) -> None:
    documented = re.findall(r"^\| `(\w+)` \| (\d+) \|", (ROOT / "docs/plan.md").read_text(), re.M)
    found = rows(paper, RULES)
    if Path(ROOT, "results", "paper").exists():
        pytest.skip("some of the paper's run is done")
    assert {rule: found[rule][0] for rule, _ in documented} == dict(documented)
    assert int(found["total"][0]) == sum(int(jobs) for _, jobs in documented) + 1  # `all`


def test_the_papers_plan_adds_up_and_says_what_it_assumes(paper: str) -> None:
    found = rows(paper, RULES)
    gpu = {
        rule: float(cells[2].replace(",", ""))
        for rule, cells in found.items()
        if rule != "rule" and not rule.startswith("-")
    }
    assert gpu["total"] == pytest.approx(sum(gpu.values()) - gpu["total"], rel=0.01)
    pattern = r"([\d,]+) kWh, ([\d,]+) kg CO2e, assuming ([\d.]+) kW .* ([\d.]+) kg"
    (numbers,) = re.findall(pattern, paper)
    kwh, kg, kw, each = (float(number.replace(",", "")) for number in numbers)
    assert kwh == pytest.approx(gpu["total"] * kw, rel=0.01)
    assert kg == pytest.approx(kwh * each, rel=0.01)


def test_shared_jobs_count_in_each_table_and_once_below(paper: str) -> None:
    found = rows(paper, TABLES)
    assert found["table_3"] == found["table_7"]
    each = [int(cells[0]) for name, cells in found.items() if name.startswith("table_")]
    assert max(each) < int(found["all of these, each job once"][0]) < sum(each)


def test_published_hours_stand_beside_predicted_ones(paper: str) -> None:
    lines = [line for line in paper.splitlines() if "lidc PRDiT-4L^256" in line]
    _, table, _, own, chain, printed, _, _ = (cell.strip() for cell in lines[0].split("|"))
    assert (table, printed) == ("table_2", "36")
    assert 18 < float(own) < 72 < float(chain)  # within a factor of two


def test_hours_of_lidc_stand_beside_no_other_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = load_file(ROOT / "config/paper.yaml")
    other = config.datasets["lidc"].model_copy(update={"published": "rad_chestct"})
    config = config.model_copy(update={"datasets": config.datasets | {"lidc": other}})
    nothing: Any = None
    assert tables.published(config, nothing) == ""


def test_what_is_taken_counts_where_a_training_would() -> None:
    config = load_file(ROOT / "config/paper.yaml")
    found = {rule: {key[1:] for key in tables.needed(config) if key[0] == rule} for rule in TRAINED}
    assert len(found["take"]) > 0
    assert found["take"] == found["train"]


TRAINED = ("train", "take")


@pytest.mark.usefixtures("micro")
def test_totals_are_the_jobs_that_snakemake_lists(capsys: pytest.CaptureFixture[str]) -> None:
    words = [sys.executable, "-m", "snakemake", "-n", "--configfile", "micro.yaml"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    stats = dict(re.findall(r"^(\w+) +(\d+)$", listed.split("Reasons:")[0], re.M))
    found = rows(planned(capsys, "micro.yaml"), RULES)
    assert {rule: cells[0] for rule, cells in found.items() if rule in stats} == stats
    assert found["train"][1] == "missing output 2, input of another job 2"


@pytest.mark.usefixtures("micro")
def test_hours_grow_with_the_length_of_a_training(capsys: pytest.CaptureFixture[str]) -> None:
    longer = {"models": {"local": {"training": {"volumes": 1_000_000_000}}}}
    longest = {"models": {"local": {"training": {"volumes": 3_000_000_000}}}}
    told = []
    for name, changes in (("longer", longer), ("longest", longest)):
        Path(f"{name}.yaml").write_text(yaml.safe_dump(changes))
        found = rows(planned(capsys, "micro.yaml", f"{name}.yaml"), SPENT)
        told.append(float(found["train chests 8 local"][1]))
    assert told[1] == pytest.approx(3 * told[0], rel=0.05)


@pytest.mark.usefixtures("micro")
def test_a_record_gives_measured_hours_and_spent_ones_beside_predicted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = Path("results/micro/models/chests/8/local/run.json")
    record.parent.mkdir(parents=True)
    told = {"status": "ok", "volumes": 500, "seconds": 7200.0, "device": "NVIDIA A100-SXM4-80GB"}
    record.write_text(json.dumps(told))
    text = planned(capsys, "micro.yaml")
    volumes, predicted, *spent = rows(text, SPENT)["train chests 8 local"]
    assert (volumes, spent) == ("1,000", ["2.0", "500", "NVIDIA A100-SXM4-80GB"])
    assert 0 < float(predicted) < 1
    train = rows(text, RULES)["train"]
    assert train[2] == "4.0"  # twice the volumes
    assert set(train[3].split(", ")) == {"measured 1", "operations 1"}


@pytest.mark.usefixtures("micro")
def test_hours_measured_on_a_cpu_are_no_gpu_hours(capsys: pytest.CaptureFixture[str]) -> None:
    record = Path("results/micro/models/chests/8/local/run.json")
    record.parent.mkdir(parents=True)
    told = {"status": "ok", "volumes": 1000, "seconds": 36000.0, "device": "x86_64"}
    record.write_text(json.dumps(told))
    train = rows(planned(capsys, "micro.yaml"), RULES)["train"]
    assert float(train[2]) < 1
    assert train[4] == "10.0"
    assert "measured on x86_64 1" in train[3]


@pytest.mark.usefixtures("micro")
def test_a_done_run_would_run_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    bare = {key: MICRO[key] for key in ("name", "datasets")}
    Path("bare.yaml").write_text(yaml.safe_dump(bare))
    words = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "bare.yaml"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = planned(capsys, "bare.yaml")
    assert "Nothing would run" in text
    assert "kWh" not in text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot read the config nope.yaml"),
        ("{name: x, datasetz: {}}", "config key 'datasets' is missing"),
        ("- 1", "the config nope.yaml is empty or no mapping"),
    ],
)
@pytest.mark.usefixtures("micro")
def test_a_config_that_is_none_is_told_in_one_sentence(
    capsys: pytest.CaptureFixture[str], content: str | None, told: str
) -> None:
    if content is not None:
        Path("nope.yaml").write_text(content)
    assert main(["plan", "--configfile", "nope.yaml"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"prdit plan: {told}")
    assert error.count("\n") == 1


@pytest.mark.usefixtures("micro")
def test_snakemakes_own_sentence_is_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    Path("Snakefile").write_text("rule all:\n    input: nothing\n")
    assert main(["plan", "--configfile", "micro.yaml"]) == 2
    error = capsys.readouterr().err
    assert "snakemake -n fails: " in error
    assert "name 'nothing' is not defined" in error
    assert error.count("\n") == 1


def test_reasons_are_snakemakes() -> None:
    text = """
[Sat Nov 21 20:10:57 2026]
localrule train:
    output: a/weights.safetensors
    reason: Code has changed since last execution; Params have changed since last execution
    wildcards: dataset=lidc, size=64, model=VQ-GAN
    resources: tmpdir=/tmp, gpu=1, mem_mb=32000
"""
    (job,) = parsed(text)
    assert job.reasons == ("code changed", "params changed")
    assert job.wildcards == {"dataset": "lidc", "size": "64", "model": "VQ-GAN"}
    assert job.gpu
    assert sentence("") == "it says nothing"
