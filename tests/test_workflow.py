"""The whole workflow on a config of seconds: it runs, rests, re-runs what changed, fails well."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from prdit.data.quality import read_rows

ROOT = Path(__file__).resolve().parents[1]
TRAINING = {"volumes": 16, "batch": 4, "learning_rate": 1e-3, "ema": 0.5}
STAGE_1 = {"depth": 0, "width": 24, "heads": 2, "patch": 4, "stride": 2, "training": TRAINING}
TABLE = {"datasets": ["chests"], "size": 8, "sampler": "k2", "rows": ["PRDiT-4L"]}
MICRO = {
    "name": "micro",
    "datasets": {
        "chests": {
            "label": "Chests",
            "published": "lidc",
            "source": {"kind": "phantom", "count": 12, "voxel_mm": 12.0, "series_per_job": 6},
            "grid": {"size": 16, "spacing_mm": 16.0},
        }
    },
    "models": {
        "local": STAGE_1,
        "PRDiT-4L": {**STAGE_1, "start_from": "local", "depth": 1},
    },
    "samplers": {"k2": {"k": 2, "steps": 4}},
    "sampling": {"volumes": 4, "volumes_per_job": 4},
    "evaluation": {"network": "resnet10", "reference": 8, "beside": {"network": "resnet50"}},
    "tables": {"table_1": TABLE},
    "figures": {"figure_12": TABLE},
}


def snakemake(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["snakemake", "--configfile", "micro.yaml", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return snakemake(folder, "--profile", "workflow/profiles/local", "--cores", "2", *words)


def planned(folder: Path) -> set[str]:
    """Rules that would run."""
    done = snakemake(folder, "-n", "--quiet", "host")
    assert done.returncode == 0, done.stdout
    lines = done.stdout
    if "Nothing to be done" in lines:
        return set()
    table = lines.split("Job stats:")[1].split("total")[0].splitlines()[3:]
    return {line.split()[0] for line in table if line.strip()} - {"all"}


def configure(folder: Path, **changes: object) -> None:
    (folder / "micro.yaml").write_text(yaml.safe_dump({**MICRO, **changes}))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_from_dicom_to_table_and_back_again(workflow_copy: Path) -> None:
    """One run, then one change after another: what each would re-run, and nothing else."""
    configure(workflow_copy)
    done = run(workflow_copy)
    assert done.returncode == 0, done.stdout
    results = workflow_copy / "results" / "micro"
    for name in ("tables/table_1.csv", "tables/table_1.md", "figures/figure_12_chests.png"):
        assert (results / name).stat().st_size > 100
    assert len(read_rows(results / "volumes/chests/quality.csv")) == 12
    text = (results / "tables/table_1.md").read_text()
    assert "FID, 2nd network x10^3" in text
    assert "2nd network: randomly initialised resnet50" in text
    card = json.loads((results / "samples/chests/8/PRDiT-4L/k2/seed0/000.json").read_text())
    assert len(card["files"]) == 4
    assert planned(workflow_copy) == set()

    loop = workflow_copy / "prdit/training/loop.py"
    edit(loop, "    processes, steps", "    # a comment\n    processes, steps")
    assert planned(workflow_copy) == set(), "a comment re-runs nothing"

    assert "Scoreboard" in (results / "report/index.html").read_text()
    made = json.loads((results / "provenance.json").read_text())
    jobs = {job["rule"]: job for job in made["jobs"]}
    assert {"phantom", "train", "sample", "score", "table", "figure"} <= set(jobs)
    assert jobs["train"]["seconds"] > 0
    assert f"--code {jobs['train']['code']}" in jobs["train"]["command"]
    assert made["datasets"]["chests"]["series"] == 12
    assert made["config"]["datasets"]["chests"]["source"]["count"] == 12
    assert made["trainings"]["chests/8/PRDiT-4L"]["status"] == "ok"
    assert made["packages"]["torch"].startswith("2.")
    shown = {"scores", "table", "all_metrics", "stages", "closest", "provenance", "site"}
    after_score = {"score", "floor", *shown}
    edit(workflow_copy / "prdit/metrics/mmd.py", "1 / (2 *", "1 / (3 *")
    assert planned(workflow_copy) == after_score
    edit(workflow_copy / "prdit/metrics/mmd.py", "1 / (3 *", "1 / (2 *")
    assert planned(workflow_copy) == set()

    page = workflow_copy / "prdit/report/templates/index.html"
    edit(page, "Scoreboard", "Results")
    assert planned(workflow_copy) == {"site"}
    edit(page, "Results", "Scoreboard")

    two = {**MICRO["samplers"], "k3": {"k": 3, "steps": 4}}  # type: ignore[dict-item]
    rows = {"a": {"model": "PRDiT-4L"}, "b": {"model": "PRDiT-4L", "sampler": "k3"}}
    configure(workflow_copy, samplers=two, tables={"table_1": {**TABLE, "rows": rows}})
    assert planned(workflow_copy) == {"sample", "features", "score", *shown}

    longer = {**STAGE_1, "start_from": "local", "depth": 1, "training": {**TRAINING, "volumes": 20}}
    configure(workflow_copy, models={"local": STAGE_1, "PRDiT-4L": longer})
    assert planned(workflow_copy) == {
        *("train", "sample", "features", "score", "figure", "costs", "settings", "curves", *shown),
    }

    chests = {**MICRO["datasets"]["chests"], "window": {"low": -1350, "high": 150}}  # type: ignore[index]
    configure(workflow_copy, datasets={"chests": chests})
    assert planned(workflow_copy).isdisjoint({"phantom", "preprocess", "ledger"})
    assert {"pack", "train"} <= planned(workflow_copy)


def test_a_scan_that_changed_after_it_was_verified_stops_its_shard(workflow_copy: Path) -> None:
    configure(workflow_copy)
    verified = "results/micro/raw/chests/000/verified.json"
    assert run(workflow_copy, verified).returncode == 0
    victim = sorted((workflow_copy / verified).parent.rglob("*.dcm"))[0]
    victim.write_bytes(victim.read_bytes()[:-100])
    done = run(workflow_copy, "results/micro/volumes/chests/8.npy")
    assert done.returncode != 0
    assert "is not what it was when it was verified" in done.stdout
    assert not (workflow_copy / "results/micro/volumes/chests/000/quality.csv").exists()


def test_a_sample_that_was_changed_is_not_scored(workflow_copy: Path) -> None:
    configure(workflow_copy)
    card = "results/micro/samples/chests/8/PRDiT-4L/k2/seed0/000.json"
    assert run(workflow_copy, card).returncode == 0
    told = json.loads((workflow_copy / card).read_text())
    ((workflow_copy / card).parent / sorted(told["files"])[2]).write_bytes(b"")
    done = run(workflow_copy)
    assert done.returncode != 0
    assert "00002.nii.gz is missing or has changed since it was drawn; delete" in done.stdout
    assert not (workflow_copy / "results/micro/scores/chests/8/PRDiT-4L/k2/seed0.npz").exists()


def test_a_typo_stops_before_any_job(workflow_copy: Path) -> None:
    configure(workflow_copy, evaluation={"netwrok": "resnet10"})
    done = run(workflow_copy)
    assert done.returncode != 0
    said = "config key 'evaluation.netwrok' is unknown; did you mean 'network'?"
    assert said in done.stdout
    assert "Traceback" not in done.stdout
    assert not (workflow_copy / "results/micro").exists()


PAPER_JOBS = {
    "fetch_series": 64,
    "list_record": 1,
    "fetch_scans": 64,
    "preprocess": 128,
    # LIDC-IDRI at 128^3: stage 1, three depths, w/o overlap (two), w/o local; HA-GAN, 3D-LDM (two),
    # WDM-3D; the refinement on 64^3 (two more). At 256^3: HA-GAN, 3D-LDM (two), WDM-3D, the
    # refinement, and fine-tuned. RAD-ChestCT at 128^3: stage 1, three depths, rivals (four).
    "train": 7 + 4 + 3 + 6 + 8,
    # In portions of 100, at 256^3 of 25. Table 1: 6 models, 3 seeds, twice; Table 2: 4; Table 3: 1;
    # Table 4: 3 and 3 k; Table 5: 7; Table 8: 1.
    "sample": 10 * 50 + 40 * 5,
    "features": 55,
    "score": 55,
    # 15 pairs, 4 seeds; and 5 pairs with the anchor, 3 seeds.
    "critic": 60 + 15,
    "time": 6,
    "table": 9,
}


@pytest.mark.parametrize(
    ("config", "jobs"),
    [
        ("quickstart.yaml", {"train": 4, "sample": 6, "figure": 4}),
        ("paper.yaml", PAPER_JOBS),
        ("paper.yaml config/lidc_only.yaml", {"fetch_series": 64, "preprocess": 64, "ledger": 1}),
    ],
)
def test_the_plan_of_a_shipped_config(
    config: str, jobs: dict[str, int], workflow_copy: Path
) -> None:
    done = subprocess.run(
        ["snakemake", "-n", "--configfile", *f"config/{config}".split(), "--quiet", "host"],
        cwd=workflow_copy,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    table = done.stdout.split("Job stats:")[1].split("total")[0].splitlines()[3:]
    found = {line.split()[0]: int(line.split()[1]) for line in table if line.strip()}
    assert jobs.items() <= found.items()
    assert sum(found.values()) < 1500
    if config == "paper.yaml":
        told = (ROOT / "docs" / "plan.md").read_text()
        documented = re.findall(r"^\| `(\w+)` \| (\d+) \|", told, re.MULTILINE)
        assert {rule: int(n) for rule, n in documented} | {"all": 1} == found
        assert f"lists {sum(found.values()):,} jobs" in told


@pytest.mark.parametrize(
    ("target", "there", "absent"),
    [
        ("data", {"pack", "quality"}, {"train", "sample"}),
        ("weights", {"train"}, {"sample", "table"}),
        ("samples", {"sample"}, {"features", "table"}),
        ("metrics", {"scores", "critics", "time"}, {"table", "figure"}),
        ("tables", {"table"}, {"figure", "site"}),
        ("figures", {"figure", "figure_15", "curves"}, {"table", "site"}),
        ("table_6", {"time", "table"}, {"sample", "score"}),
    ],
)
def test_parts_have_names(
    target: str, there: set[str], absent: set[str], workflow_copy: Path
) -> None:
    words = ("snakemake", "-n", "--quiet", "host", "--configfile", "config/miniature.yaml", "--")
    done = subprocess.run([*words, target], cwd=workflow_copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = set(re.findall(r"^(\w+) +\d+$", done.stdout, re.MULTILINE))
    assert there <= found
    assert not absent & found


def test_pretrained_scores_what_the_config_gives_weights_of(workflow_copy: Path) -> None:
    configure(workflow_copy)
    done = snakemake(workflow_copy, "-n", "--", "pretrained")
    assert done.returncode != 0
    assert "no table shows a model whose `weights:` the config gives" in done.stdout
    (workflow_copy / "w.safetensors").touch()
    given = {"PRDiT-4L": {"training": None, "weights": "w.safetensors"}}
    (workflow_copy / "given.yaml").write_text(yaml.safe_dump({"models": given}))
    words = ("snakemake", "-n", "--quiet", "host", "--configfile", "micro.yaml", "given.yaml", "--")
    done = subprocess.run([*words, "pretrained"], cwd=workflow_copy, capture_output=True, text=True)
    rules = set(re.findall(r"^(\w+) +\d+$", done.stdout, re.MULTILINE))
    assert {"take", "sample", "features", "score"} <= rules
    assert not {"train", "table", "figure"} & rules


def reachable(arrows: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """From which rule one gets to which, over any number of arrows."""
    found = set(arrows)
    while more := {(a, d) for a, b in found for c, d in arrows if b == c} - found:
        found |= more
    return found


def test_the_graph_in_reports_is_that_of_the_workflow(workflow_copy: Path) -> None:
    words = ("snakemake", "--rulegraph", "--configfile", "config/paper.yaml")
    done = subprocess.run(words, cwd=workflow_copy, capture_output=True, text=True, check=True)
    names = dict(re.findall(r'(\d+)\[label = "(\w+)"', done.stdout))
    arrows = [(names[a], names[b]) for a, b in re.findall(r"(\d+) -> (\d+)", done.stdout)]
    drawn = (ROOT / "prdit" / "report" / "static" / "workflow.svg").read_text()
    boxes = re.findall(r"<title>(\d+)</title>.*?<text.*?>(\w+)</text>", drawn, re.DOTALL)
    assert sorted(name for _, name in boxes) == sorted(names.values()), "run `make graph`"
    shown = [
        (dict(boxes)[a], dict(boxes)[b])
        for a, b in re.findall(r"<title>(\d+)&#45;&gt;(\d+)</title>", drawn)
    ]
    assert reachable(shown) == reachable(arrows), "run `make graph`"


def test_the_catalog_entry_plans_the_same(workflow_copy: Path) -> None:
    configure(workflow_copy)
    entries = [
        snakemake(workflow_copy, "-n", *words) for words in ([], ["-s", "workflow/Snakefile"])
    ]
    totals = [e.stdout.split("total")[1].split()[0] for e in entries]
    assert totals[0] == totals[1]
