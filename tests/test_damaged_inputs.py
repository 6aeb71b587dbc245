"""Steps repeated by hand on files that are empty, cut short or of another kind: one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import stepping
from pydantic import BaseModel

from prdit import cli, recipes
from prdit.config import Backbone, Critic, Grid, Sampler, Shown, Split, Window
from prdit.data.ledger import FIELDS
from prdit.data.quality import QualityRow, read_rows, write_rows
from prdit.errors import UserError
from prdit.files import sha256, write_csv, write_json
from prdit.recipes import ShownData
from prdit.report.site import PACKAGES

PAPER = Path(__file__).resolve().parents[1] / "config/published.yaml"
CONTENTS = {
    "empty": b"",
    "a mapping": b"{}",
    "a list": b"[]",
    "JSON cut short": b'{"card": {"oom',
    "CSV of other columns": b"a,b\n1,2\n",
    "CSV cut short": b"a,b\n1\n",
    "an archive cut short": b"PK\x03\x04\x14\x00",
    "no text": b"\x93\xff\x00\x80",
}
SAMPLER, TINY, GRID = Sampler(steps=2), stepping.ENTRY, Grid(size=8, spacing_mm=32)
RECIPES: dict[str, BaseModel] = {
    "fetch-scans": recipes.DownloadRecipe(url="http://127.0.0.1:9", record=1, first=0, count=1),
    "preprocess-shard": recipes.PreprocessRecipe(grid=GRID, array=None),
    "ledger": recipes.LedgerRecipe(series=None, split=Split(held_out=1), max_excluded=1),
    "pack": recipes.PackRecipe(size=8, window=Window()),
    "train": recipes.TrainRecipe(model=TINY, size=8),
    "take": recipes.TrainRecipe(model=TINY, size=8),
    "sample": recipes.SampleRecipe(sampler=SAMPLER, seed=0, first=0, count=1),
    "time": recipes.TimeRecipe(
        dataset="x", size=8, model="m", name="s", sampler=SAMPLER, repeats=1
    ),
    "features": recipes.FeaturesRecipe(
        network=Backbone(network="resnet10", weights=None), beside=None
    ),
    "score": recipes.ScoreRecipe(
        dataset="x", size=8, model="m", sampler="s", seed=0, reference=4, volumes=4
    ),
    "critic": recipes.CriticRecipe(
        dataset="x", size=8, seed=0, models=[("m", "s"), ("n", "s")], critic=Critic()
    ),
    "table": recipes.TableRecipe(
        table="table_1",
        datasets={"x": ShownData(label="x", published=None, papers=False)},
        rows=[Shown("m", "m", "s", 8)],
        seeds=[0],
    ),
    "settings": recipes.SettingsRecipe(models=[TINY]),
    "figure": recipes.FigureRecipe(figure="figure_4", dataset="x", rows=["m"]),
    "branches": recipes.BranchesRecipe(dataset="x", model="m", sampler=SAMPLER),
    "branches-figure": recipes.BranchesRecipe(dataset="x", model="m", sampler=SAMPLER),
    "cavities": recipes.CavitiesRecipe(dataset="x"),
    "quality": recipes.QualityRecipe(dataset="x", grid=GRID),
    "provenance": recipes.ProvenanceRecipe(config={"name": "x"}),
    "site": recipes.SiteRecipe(name="x", cards={}, reals=[], samples=[]),
}
COMMANDS = """
fetch-scans --manifest BAD --verified OUT
preprocess-shard --verified BAD --quality OUT
ledger --shards BAD --ledger OUT --split OUT --summary OUT
pack --split BAD --array OUT --index OUT
train --volumes BAD TRAINED --code x --batch 1 --processes 1 THREADS
train --volumes STORE --start-from BAD TRAINED --code x --batch 1 --processes 1 THREADS
take --volumes BAD --file STORE TRAINED
take --volumes STORE --file BAD TRAINED
sample --weights STORE --record BAD --card OUT --code x --batch 1 THREADS
sample --weights BAD --record RECORD --card OUT --code x --batch 1 THREADS
time --weights BAD --timing OUT THREADS
features --real BAD --features OUT --batch 1 THREADS
features --cards BAD --features OUT --batch 1 THREADS
score --real BAD --generated BAD --score OUT
critic --real STORE --first BAD --second BAD --score OUT --code x --batch 1 THREADS
critic --real BAD --first CARD --second CARD --score OUT --code x --batch 1 THREADS
critics --critics BAD --table OUT
scores --scores BAD --table OUT
costs --records BAD --table OUT
stages --benchmarks BENCHMARKS --table OUT --figure OUT
table --critics BAD --published PAPER PRINTED
table --scores BAD --published PAPER PRINTED
table --records BAD --published PAPER PRINTED
table --published BAD PRINTED
settings --published BAD --stage-1 OUT --stage-2 OUT
all-metrics --scores BAD --markdown OUT
figure --real BAD --figure OUT
figure --real STORE --cards BAD --figure OUT
branches --weights BAD --volumes OUT THREADS
branches-figure --volumes BAD --figure OUT
cavities --real BAD --figure OUT
closest --scores BAD --real STORE --figure OUT
closest --real BAD --figure OUT
quality --ledger BAD --split SPLIT --summary BAD --page OUT
quality --ledger LEDGER --split BAD --summary BAD --page OUT
quality --ledger LEDGER --split SPLIT --summary BAD --page OUT
curves --histories BAD --figure OUT
provenance --summaries BAD --made OUT
provenance --records BAD --made OUT
site --provenance BAD --costs COSTS --stages STAGES --site OUT
site --provenance TOLD --cards BAD --costs COSTS --stages STAGES --site OUT
site --provenance TOLD --costs BAD --stages STAGES --site OUT
site --provenance TOLD --costs COSTS --stages BAD --site OUT
"""
"""Words in capitals stand for others; those with BAD read the damaged file."""
NO_INPUTS = {"phantom", "fetch-series", "list-record", "look-through", "fetch-weights"}
"""Steps that read the config, the network or a user's scans alone."""
NOTHING_TOLD = {"curves": {"empty", "a mapping", "a list"}}
"""What a step may find: a training that was done elsewhere has no history."""


def test_every_step_is_among_them() -> None:
    assert {line.split()[0] for line in COMMANDS.split("\n") if line} == {*cli.STEPS} - NO_INPUTS


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What words in capitals stand for, with files that are whole."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "costs.csv").write_text("model,hours\nm,1\n")
    (tmp_path / "stages.csv").write_text("rule,hours\ntrain,1\n")
    write_rows(tmp_path / "ledger.csv", [])
    write_csv(tmp_path / "split.csv", FIELDS, [])
    write_json(tmp_path / "card.json", {"files": {}, "window": [-1000.0, 400.0]})
    versions = {"machine": {"python": "3"}, "packages": dict.fromkeys(PACKAGES, "1")}
    write_json(tmp_path / "told.json", {"config": {}, "prdit": "0", **versions})
    (tmp_path / "x/8/m").mkdir(parents=True)
    (tmp_path / "benchmarks").mkdir()
    out = str(tmp_path / "x/8/m/made.png")
    return {
        "BAD": [str(tmp_path / "x/8/m/bad")],
        "BENCHMARKS": [str(tmp_path / "benchmarks")],
        "OUT": [out],
        "STORE": [str(stepping.store(tmp_path))],
        "PAPER": [str(PAPER)],
        "TRAINED": ["--weights", out, "--record", out, "--history", out],
        "PRINTED": ["--csv", out, "--markdown", out, "--latex", out],
        "THREADS": ["--threads", "1"],
        "RECORD": ["record.json"],
        **{one: [f"{one.lower()}.json"] for one in ("CARD", "TOLD")},
        **{one: [f"{one.lower()}.csv"] for one in ("LEDGER", "SPLIT", "COSTS", "STAGES")},
    }


@pytest.mark.parametrize("line", COMMANDS.strip().split("\n"))
def test_damage_is_one_sentence(
    line: str, words: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    verb = line.split()[0]
    command = [one for word in line.split() for one in words.get(word, [word])]
    if verb in RECIPES:
        command += ["--recipe", RECIPES[verb].model_dump_json()]
    for kind, content in CONTENTS.items():
        if kind in NOTHING_TOLD.get(verb, ()):
            continue
        bad, benchmark = Path(words["BAD"][0]), Path("benchmarks/bad.tsv")
        bad.write_bytes(content)
        benchmark.write_bytes(content)
        Path("record.json").write_text(json.dumps({"sha256": sha256(bad)}))
        assert cli.main(command) == 2, kind
        said = capsys.readouterr().err
        assert said.startswith(f"prdit {verb}: "), kind
        assert said.count("\n") == 1, kind
        assert str(benchmark if verb == "stages" else bad) in said, kind
        assert not Path(words["OUT"][0]).exists(), kind


@pytest.mark.parametrize(
    ("line", "content"),
    [
        ("preprocess-shard --verified BAD --quality OUT", {"scans": [1]}),
        ("preprocess-shard --verified BAD --quality OUT", {"scans": {"1.2": {"path": "a"}}}),
        ("scores --scores BAD --table OUT", {"card": None}),
        ("scores --scores BAD --table OUT", {"card": {}, "metrics": [1]}),
        ("critics --critics BAD --table OUT", {"models": 1, "distances": 2}),
        ("closest --scores BAD --real STORE --figure OUT", {"card": {}, "closest": [1]}),
        ("figure --real STORE --cards BAD --figure OUT", {"files": 3}),
        ("features --cards BAD --features OUT --batch 1 THREADS", {"files": {}, "window": 1}),
        ("curves --histories BAD --figure OUT", {"loss": 1}),
        ("settings --published BAD --stage-1 OUT --stage-2 OUT", {"table_9": 1}),
    ],
)
def test_values_of_another_kind(
    line: str,
    content: dict[str, object],
    words: dict[str, list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    verb, bad = line.split()[0], Path(words["BAD"][0])
    common = dict.fromkeys(("dataset", "model", "sampler", "critic"), "x") | {"size": 8, "seed": 0}
    bad.write_text(json.dumps(common | content))
    command = [one for word in line.split() for one in words.get(word, [word])]
    if verb in RECIPES:
        command += ["--recipe", RECIPES[verb].model_dump_json()]
    assert cli.main(command) == 2
    said = capsys.readouterr().err
    assert str(bad) in said
    assert "its content is not what is due" in said or "holds no numbers of table_9; bring" in said


def test_tables_of_other_columns(
    words: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Path(words["BAD"][0])
    bad.write_text("dataset,size\nx,8\n")
    assert cli.main(["all-metrics", "--scores", str(bad), "--markdown", "made.md"]) == 2
    assert "bad: it has no column model, sampler, seed, metric" in capsys.readouterr().err
    write_rows(bad, [QualityRow(n_files=3)])
    bad.write_text(bad.read_text().replace(",3,", ",many,"))
    with pytest.raises(UserError, match=r"bad: its content is not what is due \(invalid literal"):
        read_rows(bad)
