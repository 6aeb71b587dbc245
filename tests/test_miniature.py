"""What `make miniature` left: every row of every table, and no blank figure."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import torch

from prdit import experiments
from prdit.config.file import load_file
from prdit.config.selections import FLOOR, PAIRWISE, TIMES
from prdit.generators import weights
from prdit.generators.base import Generator, build
from prdit.metrics.feature_sets import load_network, read
from prdit.metrics.features import extract
from prdit.metrics.frechet import frechet_distance

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "miniature"
CONFIG = load_file(ROOT / "config" / "miniature.yaml")
SLICES = sorted(path for path in RESULTS.glob("figures/*.png") if path.stem != "losses")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (RESULTS / "tables" / "table_8.csv").exists(), reason="run `make miniature` first"
    ),
]


@pytest.mark.parametrize("table", experiments.tables(CONFIG))
def test_every_row_has_its_numbers(table: str) -> None:
    frame = pd.read_csv(RESULTS / "tables" / f"{table}.csv")
    selection = CONFIG.selections()[f"tables.{table}"]
    rows = [row.label for row in selection.shown()]
    rows += [] if table in (TIMES, PAIRWISE) else [FLOOR]
    assert frame["Row"].tolist() == rows * len(selection.datasets)
    shown = ("FID", "MMD", "copies", "by chance", "seconds per")
    scores = [c for c in frame.columns if c.startswith(shown) and not c.endswith("std")]
    too_large = (frame["Row"] == "3D-LDM") & (frame["size"] == "64^3")
    assert too_large.any() == (table == "table_2")
    assert (frame.loc[too_large, scores] == "OOM").all(axis=None)
    assert np.isfinite(frame.loc[~too_large, scores].astype(float)).all(axis=None)
    if table == PAIRWISE:
        return
    papers = [
        c
        for c in frame.columns
        if c.startswith(("paper FID", "paper sec")) and not c.endswith("std")
    ]
    assert frame.loc[(frame["Row"] != FLOOR) & ~too_large, papers].notna().all(axis=None)


@pytest.mark.parametrize("dataset", CONFIG.selections()["tables.table_1"].datasets)
def test_w_scores_are_there_for_every_row(dataset: str) -> None:
    frame = pd.read_csv(RESULTS / "tables/table_1.csv")
    its = frame[frame["Data set"] == CONFIG.datasets[dataset].label].set_index("Row")
    anchor = CONFIG.selections()["tables.table_1"].anchor
    assert its.loc[anchor, "W-score"] == 1
    models = its.drop(index=FLOOR)
    asked = len(CONFIG.selections()["tables.table_1"].critics)
    known = models["critics without a ratio"] < asked  # a distance that is not positive has none
    assert (models.loc[known, "W-score"].astype(float) > 0).all()
    assert models.loc[~known, "W-score"].isna().all()
    assert known.mean() > 0.5
    assert models["critics not told from 0"].notna().all()


def test_table_11_is_antisymmetric_and_whole_but_for_what_has_no_ratio() -> None:
    """A model that a critic finds nearer to real volumes than real ones are has none."""
    frame = pd.read_csv(RESULTS / "tables/table_11.csv").set_index("Row")
    matrix = frame[list(frame.index)].to_numpy(float)
    np.testing.assert_allclose(matrix, -matrix.T, atol=1e-12)
    critics = pd.read_csv(RESULTS / "critics.csv")
    its = critics[critics["dataset"] == "phantom"]
    told = its[(its["distance"] > 0) & (its["rival_distance"] > 0)]
    pairs = {frozenset(one) for one in told[["model", "rival"]].itertuples(index=False)}
    for i, row in enumerate(frame.index):
        for j, column in enumerate(frame.index):
            assert np.isfinite(matrix[i, j]) == (i == j or frozenset((row, column)) in pairs)
    assert np.isfinite(matrix).mean() > 0.6


def test_every_set_has_every_metric() -> None:
    lines = (RESULTS / "tables/all_metrics.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith(("| phantom", "| rad-phantom"))]
    assert len(rows) == len(experiments.scored(CONFIG)) + len(experiments.scored_sizes(CONFIG))
    assert not [row for row in rows if "nan" in row]
    scores = pd.read_csv(RESULTS / "scores.csv")
    assert np.isfinite(scores.loc[~scores["oom"], "value"]).all()


def fid(table: str) -> dict[str, float]:
    frame = pd.read_csv(RESULTS / "tables" / f"{table}.csv").set_index("Row")
    (column,) = (c for c in frame.columns if c.startswith("FID x") and not c.endswith("std"))
    return {str(label): float(value) for label, value in frame[column].items()}


def test_what_is_plain_to_see_is_in_the_numbers() -> None:
    """Only gaps far beyond chance: without the global DiT there is no thorax."""
    components = fid("table_4")
    assert components["w/o global DiT"] > 5 * components["Full model"]
    samplers = fid("table_5")
    assert samplers["k = 1"] > 5 * samplers["k = 3"]


def test_a_shared_stage_1_is_trained_once() -> None:
    records = sorted(RESULTS.glob("models/phantom/*/*/run.json"))
    assert len({path.parent.name for path in records}) == len(records) == 20
    told = {path.parent.name: json.loads(path.read_text())["status"] for path in records}
    assert {n for n, status in told.items() if status == "oom"} == {"VQ-GAN-64", "3D-LDM-64"}


RIVALS = {"HA-GAN": ("one-pass", 3), "3D-LDM": ("ancestral", 3), "WDM-3D": ("ancestral", 10)}
"""Their samplers, and how many times nearer to real volumes than untrained they have to be."""


@pytest.mark.parametrize("dataset", CONFIG.selections()["tables.table_1"].datasets)
@pytest.mark.parametrize("rival", RIVALS)
def test_a_rival_draws_nearer_to_real_volumes_than_untrained(rival: str, dataset: str) -> None:
    """By the same features; of 3D-LDM, the second phase is untrained: the first is its base."""
    sampler, times = RIVALS[rival]
    fresh = build(CONFIG.models[rival], 16, CONFIG.base(rival))
    if rival == "3D-LDM":
        fresh.start_from(trained_base(dataset))
    fresh.network.eval()
    drawn = fresh.drawing(CONFIG.samplers[sampler])(torch.arange(96), 0).clamp(-1, 1)
    network, _ = load_network(CONFIG.evaluation)
    untrained = np.stack(list(extract(network, iter(drawn[:, 0].numpy()), 16)))
    scores = RESULTS / "scores" / dataset / "16"
    real = read(scores / "real.npz").features
    found = read(scores / rival / sampler / "seed0.npz").features
    assert times * frechet_distance(real, found) < frechet_distance(real, untrained)


def trained_base(dataset: str) -> Generator:
    path = RESULTS / "models" / dataset / "16" / "VQ-GAN" / "weights.safetensors"
    return weights.load(path)[0]


FALLING = {
    "HA-GAN": ("slab_encoder", "volume_encoder"),
    "VQ-GAN": ("validation_likeness",),
    "3D-LDM": ("validation_loss",),
    "WDM-3D": ("validation_loss",),
}


@pytest.mark.parametrize("dataset", CONFIG.selections()["tables.table_1"].datasets)
@pytest.mark.parametrize("rival", FALLING)
def test_losses_of_a_rival_fall(rival: str, dataset: str) -> None:
    path = RESULTS / "models" / dataset / "16" / rival / "training.jsonl"
    told = [json.loads(line) for line in path.read_text().splitlines()]
    for name in FALLING[rival]:
        values = [line[name] for line in told if name in line]
        assert values[-1] < 0.8 * values[0]


@pytest.mark.parametrize("dataset", CONFIG.datasets)
def test_every_scan_is_accounted_for(dataset: str) -> None:
    summary = json.loads((RESULTS / "volumes" / dataset / "summary.json").read_text())
    assert summary["series"] == summary["ok"] + summary["fixed"] + summary["excluded"]
    assert summary["series"] == CONFIG.datasets[dataset].source.count
    scores = pd.read_csv(RESULTS / "scores.csv")
    its = scores[(scores["dataset"] == dataset) & (scores["metric"] == "fid") & ~scores["oom"]]
    assert set(its["cohort"]) == {summary["cohort"]}
    assert (RESULTS / "quality" / dataset / "sheet_00.png").is_file()


def test_high_resolution_has_its_own_grid() -> None:
    (card,) = RESULTS.glob("samples/phantom/64/PRDiT-32-64/*/seed0/000.json")
    told = json.loads(card.read_text())
    assert (told["size"], told["spacing_mm"]) == (64, 4.0)


def test_every_figure_of_the_paper_is_there() -> None:
    """Figures 1 to 3 are drawings."""
    found = {path.stem.split("_")[1] for path in RESULTS.glob("figures/figure_*.png")}
    assert found == {str(number) for number in range(4, 16)}


def test_tables_9_and_10_tell_the_width_of_each_data_set() -> None:
    text = (RESULTS / "tables/table_10.md").read_text()
    assert "| Hidden size | 96, 120 | 768, 1152 |" in text
    assert "| Depth | 4, 8, 12 | 4, 8, 12 |" in text


def test_costs_are_those_of_the_records() -> None:
    costs = pd.read_csv(RESULTS / "costs.csv").set_index(["dataset", "size", "model"])
    assert len(costs) == len(experiments.trained(CONFIG))
    record = json.loads((RESULTS / "models/phantom/16/PRDiT-8L/run.json").read_text())
    hours = costs.loc[("phantom", 16, "PRDiT-8L"), "hours"]
    assert hours == pytest.approx(record["seconds"] / 3600)
    table = pd.read_csv(RESULTS / "tables/table_2.csv").set_index("Row")
    assert table.loc["WDM-3D", "training hours"] > 0


def test_losses_are_drawn() -> None:
    picture = matplotlib.image.imread(RESULTS / "figures" / "losses.png")[..., :3]
    assert 0.01 < (picture.min(axis=2) < 0.8).mean() < 0.5


@pytest.mark.parametrize("figure", SLICES, ids=lambda p: p.stem)
def test_figures_are_not_blank(figure: Path) -> None:
    picture = matplotlib.image.imread(figure)[..., 0]
    height, width = picture.shape
    for left in (0.15, 0.45, 0.75):
        assert (
            picture[: int(0.9 * height), int(left * width) : int((left + 0.2) * width)].std() > 0.1
        )
