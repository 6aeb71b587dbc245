"""What `make quickstart` left: the volumes are chests, tables are whole, figures are not blank.

`make test` runs the quickstart first; without its results these tests are skipped.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from prdit.config import Sampler
from prdit.data.anatomy import body_share, lung_ml
from prdit.data.quality import read_rows
from prdit.data.samples import read_samples
from prdit.data.store import open_store
from prdit.data.volume import Volume, from_window, read_nifti
from prdit.generators.draw import run as draw
from prdit.recipes import SampleRecipe

RESULTS = Path(__file__).resolve().parents[1] / "results" / "quickstart"
pytestmark = pytest.mark.skipif(
    not (RESULTS / "tables" / "table_1.csv").exists(), reason="run `make quickstart` first"
)


def samples(model: str, sampler: str) -> list[Path]:
    folder = RESULTS / f"samples/phantom/16/{model}/{sampler}/seed0"
    return sorted(folder / name for name in json.loads((folder / "000.json").read_text())["files"])


def lungs(volume: Volume) -> float:
    return lung_ml(volume.hu, volume.spacing_mm)


@pytest.fixture(scope="module")
def real() -> list[Volume]:
    store = open_store(RESULTS / "volumes/phantom/16.npy")
    spacing = (store.spacing_mm,) * 3
    return [
        Volume(from_window(store.volume(i), *store.window), spacing)
        for i in range(len(store.series))
    ]


def plausible(volumes: list[Volume], real: list[Volume]) -> float:
    """Share with one connected body, and a lung volume within 1-99 % of the real ones."""
    low, high = np.percentile([lungs(v) for v in real], [1, 99])
    return float(np.mean([body_share(v.hu) > 0.95 and low <= lungs(v) <= high for v in volumes]))


@pytest.mark.parametrize("model", ["PRDiT-4L", "PRDiT-8L", "PRDiT-12L"])
def test_generated_volumes_are_chests(model: str, real: list[Volume]) -> None:
    volumes = [read_nifti(path) for path in samples(model, "k2")]
    assert len(volumes) == 48
    assert plausible(volumes, real) >= 0.8


def test_the_measure_of_a_chest_is_not_met_by_anything(real: list[Volume]) -> None:
    assert plausible(real, real) > 0.9
    random = np.random.default_rng(0)
    noise = [replace(v, hu=random.permutation(v.hu.ravel()).reshape(v.hu.shape)) for v in real]
    assert plausible(noise[:20], real) < 0.1


def test_generated_volumes_differ_from_each_other_and_from_real_ones(real: list[Volume]) -> None:
    found = np.stack([read_nifti(path).hu for path in samples("PRDiT-4L", "k2")]).astype(float)
    known = np.stack([volume.hu for volume in real]).astype(float)
    between = np.abs(found[:, None] - found[None]).mean(axis=(2, 3, 4))
    assert between[~np.eye(len(found), dtype=bool)].min() > 20
    assert np.abs(found[:, None] - known[None]).mean(axis=(2, 3, 4)).min() > 20


def test_generated_volumes_open_in_other_programs() -> None:
    path = samples("PRDiT-4L", "k2")[0]
    image, other = nib.load(path), sitk.ReadImage(str(path))
    assert image.header.get_zooms() == other.GetSpacing() == (16, 16, 16)
    assert image.get_data_dtype() == np.int16
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    np.testing.assert_array_equal(
        np.asanyarray(image.dataobj), sitk.GetArrayFromImage(other).transpose(2, 1, 0)
    )
    centre = image.affine @ [7.5, 7.5, 7.5, 1]
    np.testing.assert_allclose(centre[:3], 0, atol=1e-4)


def test_every_series_is_accounted_for() -> None:
    rows = read_rows(RESULTS / "volumes/phantom/quality.csv")
    assert len(rows) == 192
    assert {row.status for row in rows} <= {"ok", "fixed", "excluded"}
    assert all(row.reason for row in rows if row.status == "excluded")
    assert sum((row.extent_z or 0) < 256 for row in rows) >= 5, (
        "some scans are shorter than the cube"
    )


@pytest.mark.parametrize(("table", "rows"), [("table_1", 4), ("table_4", 5)])
def test_tables_have_every_number(table: str, rows: int) -> None:
    frame = pd.read_csv(RESULTS / "tables" / f"{table}.csv")
    assert len(frame) == rows
    assert np.isfinite(frame[["FID x10^3", "MMD"]]).all(axis=None)
    assert frame["features"].str.contains("randomly initialised").all()
    text = (RESULTS / "tables" / f"{table}.md").read_text()
    assert "randomly initialised resnet10 (seed 0), not MedicalNet" in text
    assert "Not comparable with the paper: other data" in text


def test_real_volumes_score_better_than_generated_ones() -> None:
    frame = pd.read_csv(RESULTS / "tables" / "table_1.csv").set_index("Row")
    models = frame.drop("Real data")
    assert (models["FID x10^3"] > frame.loc["Real data", "FID x10^3"]).all()
    assert (models["FID x10^3"] < 10 * frame.loc["Real data", "FID x10^3"]).all()


def test_scores_carry_cards() -> None:
    for path in (RESULTS / "scores").rglob("*.json"):
        card = json.loads(path.read_text())["card"]
        assert {"network", "network_sha256", "window", "volumes", "reference"} <= set(card)


@pytest.mark.parametrize("name", ["figure_12_phantom", "figure_7_phantom"])
def test_figures_are_not_blank(name: str) -> None:
    picture = matplotlib.image.imread(RESULTS / "figures" / f"{name}.png")[..., 0]
    height, width = picture.shape
    thirds = [picture[:, int(width * f) : int(width * f) + width // 5] for f in (0.15, 0.45, 0.75)]
    for part in thirds:
        for line in np.array_split(part[int(height * 0.08) : int(height * 0.92)], 4):
            assert line.std() > 0.1


@pytest.mark.parametrize(("first", "count", "batch"), [(5, 3, 1), (10, 9, 4)])
def test_samples_depend_on_neither_batch_nor_portion(
    first: int, count: int, batch: int, tmp_path: Path
) -> None:
    """Drawn again in other portions: equal within 1 HU, where rounding turns one into the next."""
    model = RESULTS / "models/phantom/16/PRDiT-4L"
    sampler = Sampler.model_validate({"k": 2, "steps": 50})
    recipe = SampleRecipe(sampler=sampler, seed=0, first=first, count=count)
    paths = {"weights": model / "weights.safetensors", "record": model / "run.json"}
    card = tmp_path / "000.json"
    draw(recipe, **paths, code="any", card=card, batch=batch, threads=1)
    for again, before in zip(
        read_samples(card), samples("PRDiT-4L", "k2")[first : first + count], strict=True
    ):
        apart = np.abs(again.hu.astype(int) - read_nifti(before).hu)
        assert apart.max() <= 1
        assert (apart > 0).mean() < 1e-3
