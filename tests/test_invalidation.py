"""The benchmark of what re-runs: its changes, its reading of Snakemake, its comparisons."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
import yaml

from benchmarks.checkout import directly, parsed
from benchmarks.mutations import (
    Leaf,
    Mutation,
    Refused,
    apart_mutations,
    applied,
    config_mutations,
    cosmetic_mutation,
    leaves,
    others,
    source_mutation,
)
from benchmarks.outputs import digest
from benchmarks.verdicts import judge, judged
from prdit.config.file import load, load_file
from prdit.digests import statements

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "benchmarks" / "invalidation.yaml"
SOURCE = '''\
"""Of numbers."""

from pathlib import Path


def half(x: int, folder: Path) -> bool:
    """Whether it is more."""
    # why
    return x / 2 > 3 and (folder / "a") != folder
'''


def resolved() -> str:
    return yaml.safe_dump(load_file(CONFIG).model_dump(mode="json"), sort_keys=False)


def test_every_value_of_the_config_is_changed_once_to_something_valid() -> None:
    text = resolved()
    found = list(config_mutations(text, "c.yaml", Random(0)))
    changed = [one for one in found if isinstance(one, Mutation)]
    assert len(changed) > 80
    assert len({one.what.partition(":")[0] for one in changed}) == len(changed)
    before = load(yaml.safe_load(text))
    for one in changed[:20]:
        assert load(yaml.safe_load(one.text)) != before
    assert not [one for one in changed if one.what.startswith("name:")]


def test_values_change_by_little() -> None:
    assert others(Leaf(("a",), True, ()), []) == [False]
    assert others(Leaf(("a",), 4, ()), []) == [5, 3]
    assert others(Leaf(("a",), 0.0, ()), []) == [0.1]
    assert others(Leaf(("a",), "even", ("even", "released")), []) == ["released"]
    assert others(Leaf(("a",), "k1", ()), [["k1", "k2"]]) == ["k2"]


def test_types_tell_what_else_a_value_may_be() -> None:
    found = {leaf.path: leaf for leaf in leaves(load_file(CONFIG))}
    decay = found["models", "WDM-3D", "training", "decay"]
    assert (decay.value, decay.choices) == ("cosine", ("none", "cosine"))
    assert found["models", "WDM-3D", "multiples", 1].value == 1


def test_a_statement_is_changed_and_nothing_else() -> None:
    told = {source_mutation(SOURCE, "m.py", "source", Random(seed)).what for seed in range(40)}
    assert told == {
        "line 9: x / 2 -> x * 2",
        "line 9: 2 -> 3",
        "line 9: x / 2 > 3 -> x / 2 >= 3",
        "line 9: 3 -> 4",
        "line 9: folder / 'a' != folder -> folder / 'a' == folder",
    }
    with pytest.raises(Refused):
        source_mutation("x: 'list[3]' = []\n", "m.py", "source", Random(0))


@pytest.mark.parametrize("seed", range(8))
def test_cosmetic_changes_leave_the_digest_alone(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    for text in (SOURCE, (ROOT / "prdit/training/loop.py").read_text()):
        path.write_text(text)
        before = [ast.unparse(node) for node in statements(path)]
        changed = cosmetic_mutation(text, "m.py", "cosmetic", Random(seed)).text
        assert changed != text
        path.write_text(changed)
        assert [ast.unparse(node) for node in statements(path)] == before


def test_a_change_is_undone_with_its_time(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text("1\n")
    time = path.stat().st_mtime_ns
    with applied(Mutation("source", "m.py", "", "2\n"), tmp_path):
        assert path.read_text() == "2\n"
    assert (path.read_text(), path.stat().st_mtime_ns) == ("1\n", time)


def test_what_is_apart_is_there_to_be_changed() -> None:
    for one in apart_mutations(ROOT, "c.yaml", {"local_downloads": True}):
        if one.file.endswith(".py"):
            ast.parse(one.text)
        assert one.only is not None


DRY_RUN = """\
Building DAG of jobs...
[Sat Nov 21 20:15:36 2026]
rule phantom:
    output: results/m/raw/a/001/verified.json
    reason: Params have changed since last execution: before: 'a' now: 'b'
    wildcards: dataset=a, shard=001
    resources: mem_mb=2000
[Sat Nov 21 20:15:36 2026]
localrule pack:
    input: results/m/volumes/a/split.csv
    output: results/m/volumes/a/8.npy, results/m/volumes/a/8.json
    reason: Input files updated by another job: results/m/volumes/a/split.csv
    wildcards: dataset=a, size=8
rule all:
    input: results/m/volumes/a/8.npy
    reason: Rules with neither input nor output files are always executed.
Reasons:
    input files updated by another job:
        pack
"""


def test_a_dry_run_is_read() -> None:
    phantom, pack = parsed(DRY_RUN)
    assert phantom.name == "phantom dataset=a, shard=001"
    assert phantom.reason.startswith("Params have changed")
    assert pack.outputs == ["results/m/volumes/a/8.npy", "results/m/volumes/a/8.json"]
    assert pack.reason.startswith("Input files")
    assert parsed("Nothing to be done (all requested files are present and up to date).") == []


def test_a_summary_tells_what_is_invalid_by_itself() -> None:
    head = "output_file\tdate\trule\tlog-file(s)\tstatus\tplan\n"
    rows = "a.npy\tnow\tpack\ta.log\tparams changed\tupdate pending\nb\tnow\tx\t\tok\tno update\n"
    assert directly(head + rows) == {"a.npy"}


def written(path: Path, text: str) -> str | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return digest(path)


def test_times_and_names_of_folders_are_no_content(tmp_path: Path) -> None:
    def card(seconds: float, key: str, sha: str) -> str | None:
        told = {"seconds": seconds, "files": {f"{key}/00000.nii.gz": sha}}
        return written(tmp_path / "000.json", json.dumps(told))

    assert card(1.0, "0123456789ab", "f") == card(2.0, "ba9876543210", "f")
    assert card(1.0, "0123456789ab", "f") != card(1.0, "0123456789ab", "e")

    costs = "model,hours,volumes\na,{},3\n"
    path = tmp_path / "costs.csv"
    assert written(path, costs.format(1)) == written(path, costs.format(2))
    assert written(path, costs.format(1)) != written(path, "model,hours,volumes\na,1,4\n")

    page = 'x<h2 id="costs">{}</h2><h2 id="workflow">'
    path = tmp_path / "site" / "index.html"
    pages = [(written(path, page.format(n)), digest(path.parent))[1] for n in (1, 2)]
    assert pages[0] == pages[1]
    assert digest(tmp_path / "missing") is None


def test_arrays_are_compared_by_their_values(tmp_path: Path) -> None:
    path, found = tmp_path / "a.npz", []
    for key, value in (("0123456789ab", 1), ("ba9876543210", 1), ("0123456789ab", 2)):
        np.savez(path, names=[f"s/{key}/0.nii.gz"], features=np.full(3, value))
        found.append(digest(path))
    assert found[0] == found[1] != found[2]


def test_a_miss_is_named_and_a_rerun_in_vain_too() -> None:
    jobs = {"train model=a": ["w"], "score model=a": ["s"], "site": ["r"]}
    first = {"jobs": jobs, "outputs": {"w": "1", "s": "1", "r": "1"}}
    run = {"jobs": jobs, "outputs": {"w": "1", "s": "2", "r": None}, "failed": "no", "seconds": 1}
    told = {"kind": "source", "file": "f", "what": "w", "only": None, "truth": run}
    told |= {"planned": {"train model=a": "", "score model=a": ""}, "direct": ["w", "s"]}
    found = judge(first, [], told)
    assert found["missed"] == ["site"]
    assert (found["direct"], found["in_vain"]) == (["score", "train"], ["train"])
    assert judge(first, ["s"], told)["affected"] == ["site"]
    sums = judged(first, [], [told], {"source": 3})["all"]
    assert (sums["affected"], sums["missed"], sums["refused"]) == (2, 1, 3)
