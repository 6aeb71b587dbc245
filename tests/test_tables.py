"""Tables are selections of the scores, beside the paper's; plans name what tables need."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from prdit import experiments, instructions, shards
from prdit.config import Config
from prdit.config.file import load_file
from prdit.config.selections import FLOOR
from prdit.errors import UserError
from prdit.report import costs, critics, scores, settings, tables, verdict
from prdit.report.columns import W_SCORE
from prdit.report.latex import in_latex
from prdit.report.markdown import in_markdown

ROOT = Path(__file__).resolve().parents[1]
PAPER = load_file(ROOT / "config" / "paper.yaml")
NETWORK = "MedicalNet resnet50, resnet_50.pth"
AGAINST_RIVALS = ["HA-GAN", "3D-LDM", "WDM-3D", "PRDiT-4L", "PRDiT-8L", "PRDiT-12L"]


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def make_scores(folder: Path) -> list[Path]:
    """Scores of everything the paper config's tables need: FID (seed + 1) / 1000, MMD 0.2."""
    files = []
    floors = [experiments.Sampled(*one, FLOOR, "-", 0) for one in experiments.scored_sizes(PAPER)]
    sets = [*experiments.scored(PAPER), *floors]
    for number, one in enumerate(sets):
        card = {"network": NETWORK, "volumes": 1000, "reference": 1000, "cohort": "c"}
        card["window"] = [-1000.0, 400.0]
        metrics = {"fid": (one.seed + 1) / 1000, "mmd": 0.2, "fid_train": 0.003}
        metrics |= {"fid_held_out": 0.004, "copies": 50.0, "copies_by_chance": 49.5}
        if one.size == 256 and one.model == "3D-LDM-256":
            metrics, card = dict.fromkeys(metrics), card | {"oom": True}
        path = folder / f"{number}.json"
        path.write_text(json.dumps({**one._asdict(), "metrics": metrics, "card": card}))
        files.append(path)
    for one in experiments.timed(PAPER):
        about = {key: value for key, value in one._asdict().items() if key != "seed"}
        card = {"device": "a GPU", "precision": "bfloat16"}
        path = folder / f"time-{one.model}.json"
        path.write_text(json.dumps({**about, "seconds": [4.0, 5.0, 6.0], "card": card}))
        files.append(path)
    return files


def make_critics(folder: Path) -> list[Path]:
    """What all critics found: the model that is first by name twice as far as the other."""
    files = []
    for number, one in enumerate(experiments.pairs(PAPER)):
        told = {"dataset": one.dataset, "size": one.size, "seed": one.seed, "critic": one.critic}
        told["models"] = [[one.model, one.sampler], [one.rival, one.rival_sampler]]
        path = folder / f"critic-{number}.json"
        path.write_text(json.dumps(told | {"distances": [2, 1], "intervals": [[1, 3], [-1, 3]]}))
        files.append(path)
    return files


def make_table(folder: Path, name: str, config: Config = PAPER) -> tuple[pd.DataFrame, str]:
    recipe = instructions.table_recipe(config, name)
    paths = {"csv": folder / "t.csv", "markdown": folder / "t.md", "latex": folder / "t.tex"}
    made = {"scores": make_scores(folder), "critics": make_critics(folder)}
    made |= {"records": make_records(folder)}
    tables.run(recipe, published=ROOT / "config" / "published.yaml", **made, **paths)
    return pd.read_csv(paths["csv"]), paths["markdown"].read_text()


def make_records(folder: Path) -> list[Path]:
    """Every training took an hour, but for those that lacked memory."""
    records = []
    for dataset, size, model in experiments.trained(PAPER):
        path = folder / dataset / str(size) / model / "run.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        told = {"status": "ok", "seconds": 3600.0, "device": "NVIDIA A100"}
        if size == 256 and model in ("VQ-GAN", "3D-LDM-256"):
            told = {"status": "oom"}
        path.write_text(json.dumps(told))
        records.append(path)
    return records


def test_table_1(tmp_path: Path) -> None:
    frame, text = make_table(tmp_path, "table_1")
    assert frame["Row"].tolist() == [*AGAINST_RIVALS, "Real data"] * 2
    assert frame["Data set"].unique().tolist() == ["LIDC-IDRI", "RAD-ChestCT"]
    assert frame.loc[10, "paper FID x10^3"] == 1.92  # PRDiT-4L on RAD-ChestCT
    first = frame.set_index("Row").iloc[:7].loc["PRDiT-4L"]
    assert first["FID x10^3"] == pytest.approx(2.0)  # the mean of 1, 2 and 3
    assert first["FID x10^3 std"] == pytest.approx(1.0)
    assert (first["paper FID x10^3"], first["paper MMD std"]) == (2.04, 0.009)
    assert first["seeds"] == 3
    ours = "| PRDiT-4L | 128^3 | **2.00 ± 1.00** | **0.2000 ± 0.0000** | **0.50 ± 0.00** |"
    paper = "2.04 ± 0.18 | 0.1852 ± 0.0090 | 1.23 ± 0.08"
    assert f"{ours.replace('**', '')} {paper} | -0.04 | +0.0148 | -0.73 |" in text.replace("**", "")
    assert "| 3.00 ± 0.00 | 4.00 ± 0.00 | 50 ± 0 | 50 ± 0 | 3 | 1000 | 1000 |" in text
    assert frame["W-score"].tolist()[:6] == [2.0, 2.0, 0.5, 0.5, 0.5, 1.0]
    assert "†" not in text
    assert "Not comparable" not in text


def test_data_that_the_paper_has_not_get_no_numbers_of_it(tmp_path: Path) -> None:
    recipe = instructions.table_recipe(PAPER, "table_1")
    own = {n: one.model_copy(update={"published": None}) for n, one in recipe.datasets.items()}
    found = scores.gathered(make_scores(tmp_path))
    judged = critics.gathered(make_critics(tmp_path))
    spent = costs.gathered(make_records(tmp_path))
    values = yaml.safe_load((ROOT / "config/published.yaml").read_text())["table_1"]
    changed = recipe.model_copy(update={"datasets": own})
    rows = tables.rows(changed, found, judged, spent, values)
    assert {row["paper FID x10^3"] for row in rows} == {None}


@pytest.mark.parametrize("name", [n for n in experiments.tables(PAPER) if n != "table_1"])
@pytest.mark.parametrize("published", ["rad_chestct", None])
def test_the_papers_other_tables_are_of_lidc(
    name: str, published: str | None, tmp_path: Path
) -> None:
    """Another data set, though the paper has it, gets no numbers of LIDC-IDRI."""
    datasets = {"lidc": PAPER.datasets["lidc"].model_copy(update={"published": published})}
    other = PAPER.model_copy(update={"datasets": PAPER.datasets | datasets})
    frame, _ = make_table(tmp_path, name, other)
    assert frame[[c for c in frame.columns if c.startswith("paper ")]].isna().all(axis=None)
    assert "verdict" not in frame or frame["verdict"].isna().all()


@pytest.mark.parametrize("lacking", ["PRDiT-12L", "HA-GAN"])
def test_w_scores_where_a_model_lacked_memory(lacking: str, tmp_path: Path) -> None:
    """PRDiT-12L is the anchor: without its volumes, nothing is told of the others."""
    recipe = instructions.table_recipe(PAPER, "table_1")
    found = scores.gathered(make_scores(tmp_path))
    judged = critics.gathered(make_critics(tmp_path))
    its = found["model"] == lacking
    found.loc[its, "oom"], found.loc[its, "value"] = True, float("nan")
    asked = (judged["model"] == lacking) | (judged["rival"] == lacking)
    judged.loc[asked, critics.DISTANCES] = float("nan")
    values = yaml.safe_load((ROOT / "config/published.yaml").read_text())["table_1"]
    spent = costs.gathered(make_records(tmp_path))
    frame = pd.DataFrame(tables.rows(recipe, found, judged, spent, values))
    told = dict(zip(frame["Row"], frame["W-score"], strict=True))
    assert {row for row, cell in told.items() if cell == "OOM"} == {lacking}
    healthy = [cell for row, cell in told.items() if row not in (lacking, FLOOR)]
    assert pd.isna(healthy).all() == (lacking == "PRDiT-12L")
    assert "OOM ±" not in in_markdown(frame, "", "")


def test_the_best_of_each_data_set_is_bold(tmp_path: Path) -> None:
    frame, _ = make_table(tmp_path, "table_1")
    frame = frame.fillna({"differs": ""})
    frame.loc[2, "FID x10^3"] = 0.5
    text = in_markdown(frame, "", "")
    lines = [line for line in text.splitlines() if "**0.50 ± 1.00**" in line]
    assert len(lines) == 1
    assert lines[0].startswith("| LIDC-IDRI | WDM-3D |")
    assert "FID x10^3 ↓" in text


def test_table_2_has_costs_and_what_lacked_memory(tmp_path: Path) -> None:
    frame, text = make_table(tmp_path, "table_2")
    found = frame.set_index("Row")
    assert found.loc["3D-LDM", "FID x10^3"] == found.loc["3D-LDM", "paper FID x10^3"] == "OOM"
    assert found.loc["3D-LDM", "verdict"] == "reproduced"
    assert found.loc["HA-GAN", "training hours"] == 1
    assert found.loc["PRDiT-4L^256", "training hours"] == 1  # its base of 128^3 is not counted
    assert found.loc["HA-GAN", "paper training hours"] == 140
    assert "| OOM | OOM | - |" in text
    found = make_table(tmp_path, "table_3")[0].set_index("Row")
    assert found.loc["PRDiT_64^128", "training hours"] == 3  # stage 1, stage 2, refinement
    assert found.loc["PRDiT_128 scratch", "training hours"] == 2


def test_latex_has_every_row(tmp_path: Path) -> None:
    frame, _ = make_table(tmp_path, "table_3")
    text = (tmp_path / "t.tex").read_text()
    assert r"FID $\times 10^{3}$" in text
    assert r"\textbf{1.00} [2.04]" in text  # ours, not the paper's
    assert text.count(" \\\\\n") == 1 + 2 + 1
    assert f"Features: {NETWORK}".replace("_", r"\_") in text
    assert not [c for c in "±↓†²" if c in text]
    frame["because"] = "other data"
    assert "Not comparable with the paper: other data." in in_latex(frame, "")


def test_w_scores_of_another_anchor_do_not_compare(tmp_path: Path) -> None:
    recipe = instructions.table_recipe(PAPER, "table_1")
    assert recipe.anchor is not None
    other = recipe.rows[3]
    make_table(tmp_path, "table_1")
    found = scores.gathered(make_scores(tmp_path))
    judged = critics.gathered(make_critics(tmp_path))
    spent = costs.gathered(make_records(tmp_path))
    values = yaml.safe_load((ROOT / "config/published.yaml").read_text())["table_1"]
    changed = recipe.model_copy(update={"anchor": other})
    rows = tables.rows(changed, found, judged, spent, values)
    assert rows[0]["verdict W-score"] == "not comparable"
    assert rows[0]["difference W-score"] is None
    assert rows[0]["verdict FID x10^3"] != "not comparable"
    assert "W-scores as ratios to PRDiT-4L instead of PRDiT-12L" in rows[0]["because"]


VERDICTS = {
    "reproduced": [
        ({"x": 2.0, "x std": 0.1, "paper x": 2.2, "paper x std": 0.1}, 0, []),
        ({"x": 2.0, "paper x": 2.2}, 0.3, []),
        ({"x": 2.0, "paper x": 2.1}, 0, []),
        ({"x": "OOM", "paper x": "OOM"}, 0, []),
    ],
    "not reproduced": [
        ({"x": 2.0, "x std": 0.1, "paper x": 2.4, "paper x std": 0.1}, 0, []),
        ({"x": 2.0, "paper x": 2.2}, 0.1, []),
        ({"x": 2.0, "paper x": 2.3}, 0, []),
        ({"x": 2.0, "paper x": "OOM"}, 0, []),
    ],
    "not comparable": [({"x": 2.0, "paper x": 2.0}, 0, ["other data"])],
    "": [({"x": float("nan"), "paper x": 2.0}, 0, []), ({"x": 2.0}, 0, ["other data"])],
}


@pytest.mark.parametrize("word", VERDICTS)
def test_verdicts(word: str) -> None:
    for cells, half, reasons in VERDICTS[word]:
        assert verdict.verdict(cells, "x", half, reasons) == word


def test_what_does_not_compare_with_the_paper_says_why(tmp_path: Path) -> None:
    frame, _ = make_table(tmp_path, "table_1")
    assert set(frame["verdict"].dropna()) <= {"reproduced", "not reproduced"}
    anchor = frame[frame["Row"] == "PRDiT-12L"]
    assert anchor["verdict W-score"].isna().all()  # 1 of 1, whatever was drawn
    first, of_critics = changed_table(tmp_path, network="random", volumes=96)
    assert first["because"] == "another feature network; 96 instead of 1,000 volumes (volumes)"
    assert of_critics == ["96 instead of 1,000 volumes (volumes)"]
    first, of_critics = changed_table(tmp_path, reference=509)
    assert first["because"] == "509 instead of 1,000 volumes (reference)"
    assert first["verdict W-score"] in ("reproduced", "not reproduced")
    assert of_critics == []


@pytest.mark.parametrize(("low", "high", "same"), [(-1350, 150, False), (-1000, 1000, True)])
def test_another_window_does_not_compare(low: int, high: int, same: bool, tmp_path: Path) -> None:
    first, of_critics = changed_table(tmp_path, window=[low, high])
    told = "" if same else f"HU window {low} to {high} instead of -1000 to 400"
    assert first["because"] == told
    assert of_critics == [told] * (not same)
    assert {first[f"verdict {name}"] == "not comparable" for name in COLUMNS} == {not same}


def changed_table(folder: Path, **card: object) -> tuple[dict[str, Any], list[str]]:
    """The first row of Table 1 by scores of other cards; and why its W-score does not compare."""
    recipe = instructions.table_recipe(PAPER, "table_1")
    found = scores.gathered(make_scores(folder))
    for key, value in card.items():
        found[key] = [value] * len(found)
    values = yaml.safe_load((ROOT / "config/published.yaml").read_text())["table_1"]
    others = critics.gathered(make_critics(folder)), costs.gathered(make_records(folder))
    first = tables.rows(recipe, found, *others, values)[0]
    return first, verdict.unlike(found.iloc[0], W_SCORE, recipe.anchor)


COLUMNS = ("FID x10^3", "MMD", "W-score")


def test_other_data_and_sizes_do_not_compare(tmp_path: Path) -> None:
    recipe = instructions.table_recipe(PAPER, "table_1")
    about = recipe.datasets["lidc"].model_copy(update={"papers": False})
    found = scores.gathered(make_scores(tmp_path))
    chosen = found[(found["dataset"] == "lidc") & (found["size"] == 128)]
    cells = dict.fromkeys(COLUMNS, 1.0) | {f"paper {name}": 1.0 for name in COLUMNS}
    row = recipe.rows[0]._replace(size=16)
    told = verdict.compared(cells, chosen, recipe, about, row)
    assert told["because"] == "other data; 16^3 voxels instead of 128^3"
    assert told["verdict"] == "not comparable"


def test_table_4(tmp_path: Path) -> None:
    frame, text = make_table(tmp_path, "table_4")
    components = ["Full model", "w/o overlap", "w/o local denoiser", "w/o global DiT"]
    assert frame["Row"].tolist() == [*components, "k = 1", "k = 2", "k = 3", "k = 4", "Real data"]
    paper = [2.04, 3.27, 3.10, 41.92, 8.889, 2.173, 3.112, 4.184]
    assert frame["paper FID x10^3"].tolist()[:8] == paper
    assert frame["FID x10^3"].tolist() == [1.0] * 9
    assert "| k = 2 | 128^3 | **1.00** | **0.2000** |" in text  # of equals, all are best
    assert "| 2.17 | 0.1849 | -1.17 | +0.0151 | not reproduced |" in text


def test_table_11(tmp_path: Path) -> None:
    frame, text = make_table(tmp_path, "table_11")
    assert frame["Row"].tolist() == AGAINST_RIVALS
    found = frame.set_index("Row")
    assert found.loc["PRDiT-12L", "PRDiT-4L"] == pytest.approx(-math.log(2))  # first by name
    assert found.loc["PRDiT-4L", "PRDiT-12L"] == pytest.approx(math.log(2))
    assert found.loc["PRDiT-8L", "paper PRDiT-12L"] == -0.073
    assert "-0.6931 ± 0.0000" in text


def test_scores_that_do_not_compare_say_so_in_their_cells(tmp_path: Path) -> None:
    frame = scores.gathered(make_scores(tmp_path))
    frame.loc[frame["model"] == "PRDiT-8L", "volumes"] = 500
    frame.loc[frame["model"] == FLOOR, "network"] = "another"
    recipe = instructions.table_recipe(PAPER, "table_1")
    values = yaml.safe_load((ROOT / "config/published.yaml").read_text())["table_1"]
    judged = critics.gathered(make_critics(tmp_path))
    spent = costs.gathered(make_records(tmp_path))
    found = pd.DataFrame(tables.rows(recipe, frame, judged, spent, values))
    text = in_markdown(found, "", "")
    found = [line for line in text.split("Beside")[0].splitlines() if line.startswith("| LIDC")]
    lines = {line.split(" | ")[1]: line for line in found}
    assert "†" not in lines["PRDiT-4L"]
    assert "2.00 ± 1.00 †" in lines["PRDiT-8L"]
    assert "†" in lines["Real data"]
    assert "volumes 500 instead of 1000" in text
    assert "network another instead of MedicalNet resnet50, resnet_50.pth" in text


def test_table_5_is_in_hundredths(tmp_path: Path) -> None:
    frame, _ = make_table(tmp_path, "table_5")
    assert frame["paper FID x10^2"].tolist()[:3] == [7.031, 6.132, 5.950]
    assert frame["Row"].tolist()[5:7] == ["k = 4", "conventional"]
    assert frame["FID x10^2"].tolist()[0] == pytest.approx(0.1)


def test_table_6_is_in_seconds_of_a_device(tmp_path: Path) -> None:
    frame, text = make_table(tmp_path, "table_6")
    assert frame["Row"].tolist() == AGAINST_RIVALS
    assert frame["seconds per volume"].tolist() == [5.0] * 6
    paper = [0.0102, 26.0518, 34.6328, 11.459, 18.3414, 21.9311]
    assert frame["paper seconds per volume"].tolist() == paper
    line = "| PRDiT-4L | 128^3 | 5.0000 ± 1.0000 | 11.4590 ± 1.1665 | - | not comparable |"
    assert line in text.replace("**", "")
    assert "| PRDiT-4L | 128^3 | 3 | a GPU | bfloat16 |" in text
    assert "one device" in text


@pytest.mark.parametrize("name", experiments.tables(PAPER))
def test_every_row_of_every_table_has_the_papers_number(name: str, tmp_path: Path) -> None:
    frame, _ = make_table(tmp_path, name)
    rows = frame[frame["Row"] != FLOOR]
    (column, *_) = (c for c in frame.columns if c.startswith("paper ") and not c.endswith("std"))
    assert rows[column].notna().all()


def test_a_score_that_is_missing_is_no_empty_cell(tmp_path: Path) -> None:
    recipe = instructions.table_recipe(PAPER, "table_4")
    found = scores.gathered(make_scores(tmp_path))
    scores_left = found[found["sampler"] != "k3"]
    with pytest.raises(UserError, match="no score is of k = 3"):
        tables.rows(recipe, scores_left, pd.DataFrame(), pd.DataFrame(), {"predictor_steps_k": {}})


def test_nothing_is_scored_twice() -> None:
    found = experiments.scored(PAPER)
    # Table 1: 36. Table 2: 4. Table 3: 1 more. Table 4: 3 variants, 3 k. Table 5: 7. Table 8: 1.
    assert len(found) == len(set(found)) == 55


@pytest.mark.parametrize(("size", "jobs"), [("128", 10), ("256", 40)])
def test_portions_cover_all_samples_once(size: str, jobs: int) -> None:
    extents = [
        instructions.sample_recipe(PAPER, size, "k2", "0", portion)
        for portion in experiments.portions(PAPER, size)
    ]
    assert len(extents) == jobs
    numbers = [n for e in extents for n in range(e.first, e.first + e.count)]
    assert numbers == list(range(1000))


def test_shards_cover_all_series_once() -> None:
    extents = [shards.raw_recipe(PAPER, "lidc", s) for s in shards.shards(PAPER, "lidc")]
    numbers = [n for e in extents for n in range(e.first, e.first + e.count)]
    assert numbers == list(range(1018))
    assert len(extents) == 64


def test_published_values_are_those_of_the_paper(shared: Path) -> None:
    theirs = yaml.safe_load((shared / "paper" / "tables.yaml").read_text())
    theirs.pop("figures")
    mine = yaml.safe_load((ROOT / "config" / "published.yaml").read_text())
    assert {key: mine[key] for key in mine if key not in ("table_9", "table_10")} == theirs


def test_tables_9_and_10_are_the_config(tmp_path: Path) -> None:
    recipe = instructions.settings_recipe(PAPER)
    paths = {name: tmp_path / f"{name}.md" for name in ("stage_1", "stage_2")}
    settings.run(recipe, published=ROOT / "config" / "published.yaml", **paths)
    local, others = (paths[name].read_text() for name in ("stage_1", "stage_2"))
    assert "| Patch size | 12 x 12 x 12 | 12 x 12 x 12 |" in local
    assert "| Hidden size | 1728 | 1728 |" in local
    assert "| Depth | 4, 8, 12 | 4, 8, 12 |" in others
    assert "| Hidden size | 768, 1152 | 768, 1152 |" in others
    assert "| Learning rate | 9e-05, 6e-05, 4e-05 | 9e-05, 6e-05, 4e-05 |" in others
