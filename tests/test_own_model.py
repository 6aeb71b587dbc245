"""A model of a user's own, as the docs tell: one file, one entry, and it stands in Table 1."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from stepping import ENTRY, store, trained
from test_workflow import MICRO, configure, planned, run

from prdit.cli import main
from prdit.config import WDM3D, Model, Training
from prdit.config.file import load, load_file
from prdit.errors import UserError
from prdit.files import sha256
from prdit.generators import take, weights
from prdit.generators.base import build
from prdit.recipes import TrainRecipe

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()
EXAMPLE = ROOT / "docs" / "examples" / "vae.py"


def documented() -> dict[str, Any]:
    """Models, samplers and tables of the example's config, part of which the page shows."""
    (block, *_) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    whole = yaml.safe_load((EXAMPLE.with_suffix(".yaml")).read_text())
    assert yaml.safe_load(block)["models"] == whole["models"]
    return {key: whole[key] for key in ("models", "samplers", "tables")}


def test_the_page_s_commands_lead_to_a_report(workflow_copy: Path) -> None:
    shutil.copytree(EXAMPLE.parent, workflow_copy / "docs" / "examples")
    shell = PAGE.split("```sh\n")[1].split("```")[0]
    done = subprocess.run(["bash", "-ec", shell], cwd=workflow_copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(workflow_copy / "results/vae/tables/table_1.csv").set_index("Row")
    assert np.isfinite(float(table.loc["VAE", "FID x10^3"]))
    assert (workflow_copy / "results/vae/report/index.html").is_file()


def test_the_example_stands_in_table_1_trained_and_taken(workflow_copy: Path) -> None:
    shutil.copy(EXAMPLE, workflow_copy / "prdit" / "generators" / "vae.py")
    configure(workflow_copy, **documented(), figures={})
    done = run(workflow_copy)
    assert done.returncode == 0, done.stdout
    results = workflow_copy / "results" / "micro"
    table = pd.read_csv(results / "tables/table_1.csv").set_index("Row")
    assert np.isfinite(float(table.loc["VAE", "FID x10^3"]))
    assert planned(workflow_copy) == set()
    kept = workflow_copy / "kept.safetensors"
    shutil.copy(results / "models/chests/8/VAE/weights.safetensors", kept)
    told = documented()
    own = {key: told["models"]["VAE"][key] for key in ("generator", "settings")}
    told["models"]["taken"] = {**own, "weights": "kept.safetensors"}
    told["tables"]["table_1"]["rows"] = ["VAE", "taken"]
    configure(workflow_copy, **told, figures={})
    assert {"train", "pack"} & planned(workflow_copy) == set()
    done = run(workflow_copy)
    assert done.returncode == 0, done.stdout
    table = pd.read_csv(results / "tables/table_1.csv").set_index("Row")
    assert table.loc["taken", "FID x10^3"] == table.loc["VAE", "FID x10^3"]
    record = json.loads((results / "models/chests/8/taken/run.json").read_text())
    assert (record["status"], record["taken_from"]) == ("taken", sha256(kept))


def test_an_edit_of_it_trains_it_anew_and_nothing_else(workflow_copy: Path) -> None:
    path = workflow_copy / "prdit" / "generators" / "vae.py"
    shutil.copy(EXAMPLE, path)
    told = documented()
    told["models"] |= MICRO["models"]
    told["samplers"] |= MICRO["samplers"]
    told["tables"]["table_1"]["rows"] = {
        "VAE": {"model": "VAE"},
        "PRDiT-4L": {"model": "PRDiT-4L", "sampler": "k2"},
    }
    configure(workflow_copy, **told, figures={})
    models = "results/micro/models/chests/8"
    targets = [f"{models}/{name}/weights.safetensors" for name in ("VAE", "PRDiT-4L")]
    done = run(workflow_copy, *targets)
    assert done.returncode == 0, done.stdout
    path.write_text(path.read_text().replace("self.settings.prior * prior", "0.5 * prior"))
    done = run(workflow_copy, *targets, "-n")
    assert done.stdout.count("rule train:") == 1
    assert "model=VAE" in done.stdout


def test_a_setting_it_does_not_know_is_refused(workflow_copy: Path) -> None:
    shutil.copy(EXAMPLE, workflow_copy / "prdit" / "generators" / "vae.py")
    told = documented()
    told["models"]["VAE"]["settings"]["widht"] = 3
    configure(workflow_copy, **told, figures={})
    done = run(workflow_copy, "results/micro/models/chests/8/VAE/weights.safetensors")
    assert done.returncode != 0
    log = (workflow_copy / "results/micro/logs/train/chests/8/VAE.log").read_text()
    assert log.strip() == "prdit train: settings.widht of vae: Extra inputs are not permitted"


def with_models(**models: Any) -> dict[str, Any]:
    return {**MICRO, "models": {**MICRO["models"], **models}}


REFUSED = {
    "config, models.x: generator 'vea' is no module of prdit/generators": {
        "generator": "vea",
        "latent": 3,
        "training": {"volumes": 1},
    },
    "models.x.per_dataset.chests: multipels: Extra inputs are not permitted": {
        "generator": "wdm_3d",
        "training": {"volumes": 1},
        "per_dataset": {"chests": {"multipels": [1]}},
    },
    "config, models.x: add training, or name a file of weights": {"generator": "wdm_3d"},
    "config, models.x: write either training or weights, not both": {
        "generator": "wdm_3d",
        "weights": "a.pt",
        "training": {"volumes": 2},
    },
    "models.x.start_from: 'PRDiT-4L' is a prdit; name one of vq_gan or ldm_3d": {
        "generator": "ldm_3d",
        "start_from": "PRDiT-4L",
        "training": {"volumes": 1},
    },
    "training.ema of a VQ-GAN is 0": {"generator": "vq_gan", "training": {"volumes": 1}},
    "config key 'models.x.start_from' is 'PRDiT-4L': leave it out: this generator starts": {
        "generator": "ha_gan",
        "start_from": "PRDiT-4L",
        "training": {"volumes": 1},
    },
    "config key 'models.x.settings' is unknown": {
        "generator": "wdm_3d",
        "settings": {},
        "training": {"volumes": 1},
    },
}


@pytest.mark.parametrize("said", REFUSED)
def test_entries_that_make_no_model(said: str) -> None:
    with pytest.raises(UserError) as caught:
        load(with_models(x=REFUSED[said]))
    assert said in str(caught.value)


UNAVERAGED = {"volumes": 1, "ema": 0}
ROWS = {
    "draws nothing; name a 3D-LDM that starts from it": (
        {"generator": "vq_gan", "levels": 1, "training": UNAVERAGED},
        {"kind": "own", "steps": 1},
    ),
    "is not drawn by samplers.s; it needs a sampler of kind own": (
        {"generator": "wdm_3d", "multiples": [1], "training": {"volumes": 1}},
        {"steps": 1},
    ),
    "more than the 300 timesteps of models.x; write 300 at most": (
        {
            "generator": "ldm_3d",
            "start_from": "z",
            "multiples": [1, 2],
            "training": {"volumes": 1},
        },
        {"kind": "own", "steps": 301},
    ),
    "size: 8 is none of 16, 32, 64, 128 and 256": (
        {"generator": "ha_gan", "training": {"volumes": 1}},
        {"kind": "own", "steps": 1},
    ),
    "size: 8 is no multiple of 32, which the levels of models.x need": (
        {"generator": "wdm_3d", "training": {"volumes": 1}},
        {"kind": "own", "steps": 1},
    ),
    "size: 8 is no multiple of 16, which the levels of models.y need": (
        {
            "generator": "ldm_3d",
            "start_from": "y",
            "multiples": [1],
            "training": {"volumes": 1},
        },
        {"kind": "own", "steps": 1},
    ),
    "size: 8 is no multiple of 16, which models.x.multiples and its VQ-GAN need": (
        {"generator": "ldm_3d", "start_from": "z", "training": {"volumes": 1}},
        {"kind": "own", "steps": 1},
    ),
    "samplers.s: a sampler of kind own has no k; remove it": (
        {"generator": "ha_gan", "training": {"volumes": 1}},
        {"kind": "own", "k": 3},
    ),
}


@pytest.mark.parametrize("said", ROWS)
def test_rows_that_cannot_be(said: str) -> None:
    entry, sampler = ROWS[said]
    first = {"generator": "vq_gan", "levels": 3, "training": UNAVERAGED}
    told = with_models(x=entry, y=first, z={**first, "levels": 1})
    told["samplers"] = {**MICRO["samplers"], "s": sampler}
    told["tables"] = {"table_1": {"datasets": ["chests"], "size": 8, "sampler": "s", "rows": ["x"]}}
    with pytest.raises(UserError) as caught:
        load({**told, "figures": {}})
    assert said in str(caught.value)


# --- Weights that are taken -----------------------------------------------------------------------

WDM = WDM3D(generator="wdm_3d", base=8, multiples=[1, 2], weights="theirs.pt")


def taken(folder: Path, entry: Model, file: Path, size: int = 8) -> Path:
    folder.mkdir(exist_ok=True)
    out = {"weights": folder / "w.safetensors", "record": folder / "run.json"}
    recipe = TrainRecipe(model=entry, size=size)
    take.run(recipe, file=file, volumes=store(folder), history=folder / "h.jsonl", **out)
    return out["weights"]


def theirs(folder: Path) -> Path:
    """As authors might have published a WDM-3D: other names, the same order of layers."""
    training = Training(volumes=1, seed=5)
    network = build(WDM.model_copy(update={"training": training}), 8, None).network
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1)
    state = {
        f"layer_{i}.{n.split('.')[-1]}": t for i, (n, t) in enumerate(network.state_dict().items())
    }
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / "theirs.pt")
    torch.save(network.state_dict(), folder / "mine.pt")
    return folder / "theirs.pt"


def test_authors_weights_are_read_by_order_and_shape(tmp_path: Path) -> None:
    found = taken(tmp_path / "t", WDM, theirs(tmp_path))
    expected = torch.load(tmp_path / "mine.pt", weights_only=True)
    network = weights.load(found)[0].network
    for name, value in network.state_dict().items():
        assert torch.equal(value, expected[name])
    assert weights.told(found)["nominal_hu"] is True


def test_authors_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = theirs(tmp_path)
    for change in ({"base": 16}, {"multiples": [1, 2, 2]}, {"multiples": [1]}):
        with pytest.raises(UserError, match=r"theirs.pt does not fit: where .* is due, it has"):
            taken(tmp_path / "t", WDM.model_copy(update=change), path)
    path.write_bytes(b"\x80\x04no checkpoint")
    with pytest.raises(UserError, match="cannot read the checkpoint"):
        taken(tmp_path / "t", WDM, path)
    assert not list((tmp_path / "t").glob("w*"))


def test_a_file_for_other_volumes_is_refused(tmp_path: Path) -> None:
    file = trained(tmp_path / "trained")
    entry = ENTRY.model_copy(update={"weights": str(file), "training": Training(volumes=1)})
    assert taken(tmp_path / "t", entry, file).is_file()
    with pytest.raises(UserError, match=r"makes volumes of 8\^3 voxels .* are of 16\^3 voxels"):
        taken(tmp_path / "t", entry, file, size=16)
    other = entry.model_copy(update={"width": 48})
    with pytest.raises(
        UserError, match=r"the weights in .* do not fit: of another shape: \S+, \S+"
    ):
        taken(tmp_path / "t", other, file)


@pytest.mark.parametrize("nominal", [True, False])
def test_a_file_of_this_package_tells_whether_its_hu_are_nominal(
    tmp_path: Path, nominal: bool
) -> None:
    state, recipe = build(ENTRY, 8).network.state_dict(), TrainRecipe(model=ENTRY, size=8)
    file, about = tmp_path / "mine.safetensors", weights.told(trained(tmp_path / "trained"))
    weights.save(file, state, state, recipe, {**about, "nominal_hu": nominal})
    assert weights.told(file) == {**about, "nominal_hu": nominal}
    found = taken(tmp_path / "t", ENTRY, file)
    assert weights.told(found)["nominal_hu"] is nominal


def test_a_generator_that_knows_no_authors_says_so(tmp_path: Path) -> None:
    theirs(tmp_path)
    with pytest.raises(UserError, match=r"knows no other kind; for PRDiT's .* prdit convert"):
        taken(tmp_path / "t", ENTRY, tmp_path / "theirs.pt")


@pytest.mark.parametrize("model", ["HA-GAN", "VQ-GAN", "3D-LDM", "WDM-3D"])
def test_rivals_can_be_described(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", model, "--configfile", str(ROOT / "config/paper.yaml")]) == 0
    said = capsys.readouterr().out
    sizes = {"HA-GAN": "52,518,210", "3D-LDM": "9,981,528", "WDM-3D": "57,914,824"}
    assert sizes.get(model, "11,049,665") in said


def test_another_file_than_the_config_means_is_refused(tmp_path: Path) -> None:
    file = theirs(tmp_path)
    entry = WDM.model_copy(update={"sha256": sha256(file)})
    assert taken(tmp_path / "t", entry, file).is_file()
    other = WDM.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(UserError, match=f"has sha256 {sha256(file)}, not 0+: it is another file"):
        taken(tmp_path / "t", other, file)


def test_a_file_without_weights_is_refused(tmp_path: Path) -> None:
    entry = ENTRY.model_copy(update={"weights": "w", "training": Training(volumes=1)})
    weights.save_nothing(tmp_path / "w.safetensors", TrainRecipe(model=ENTRY, size=8), "3 GiB")
    with pytest.raises(UserError, match="holds no weights: its training ran out of memory"):
        taken(tmp_path / "t", entry, tmp_path / "w.safetensors")
    torch.save({"state_dict": {}}, tmp_path / "nested.pt")
    with pytest.raises(UserError, match="no tensors at its top level"):
        taken(tmp_path / "t", WDM, tmp_path / "nested.pt")


def test_the_cards_tell_the_settings_of_the_paper() -> None:
    config = load_file(ROOT / "config" / "paper.yaml")
    told = (ROOT / "docs" / "rivals.md").read_text()
    for name, steps in {"HA-GAN": "80,000", "VQ-GAN": "51,000", "3D-LDM": "20,000"}.items():
        training = config.models[name].training
        assert f"{training.volumes // training.batch:,}" == steps
        assert f"{steps} steps of {training.batch}" in told


def test_weights_that_are_gone_stop_before_any_job(workflow_copy: Path) -> None:
    """Even if what was made of them before is still there."""
    models = {**MICRO["models"], "x": {"generator": "wdm_3d", "weights": "gone.pt"}}
    configure(workflow_copy, models=models)
    done = run(workflow_copy, "-n")
    assert done.returncode != 0
    assert "models.x.weights: there is no file gone.pt" in done.stdout


def test_a_model_that_is_null_takes_its_rows_along() -> None:
    rows = {"a": {"model": "x"}, "b": {"model": "PRDiT-4L"}, "c": None}
    table = {"datasets": ["chests"], "size": 8, "sampler": "k2", "rows": rows}
    told = with_models(x=None)
    found = load({**told, "tables": {"table_1": table}, "figures": {}})
    assert found.tables.table_1 is not None
    assert [row.label for row in found.tables.table_1.shown()] == ["b"]
    listed = {**table, "rows": ["x", "PRDiT-4L"]}
    found = load({**told, "tables": {"table_1": listed}, "figures": {}})
    assert found.tables.table_1 is not None
    assert [row.label for row in found.tables.table_1.shown()] == ["PRDiT-4L"]


def test_losses_without_a_loss_are_told() -> None:
    from stepping import step

    training = Training(volumes=4, batch=2)
    generator: Any = build(WDM.model_copy(update={"training": training, "weights": None}), 8, None)
    generator.optimizers()
    for wrong in ({"lose": torch.zeros(())}, {"loss": torch.zeros(2)}):
        generator.losses = lambda x0, index, wrong=wrong: wrong  # noqa: ARG005
        with pytest.raises(UserError, match='must give "loss", the mean over its volumes'):
            step(generator, torch.zeros(2, 1, 8, 8, 8), torch.arange(2), training)


def test_volumes_of_a_wrong_shape_are_not_written(tmp_path: Path) -> None:
    from prdit.generators import draw
    from prdit.recipes import SampleRecipe

    trained(tmp_path)
    recipe = SampleRecipe(sampler={"steps": 2}, seed=0, first=0, count=2)
    source = draw.Source(recipe, tmp_path / "weights.safetensors", torch.device("cpu"), 2)
    about = source.loaded[1]
    for shape in ((2, 1, 4, 4, 4), (2, 8, 8, 8), (1, 1, 8, 8, 8)):
        source.loaded = (lambda index, seed, shape=shape: torch.zeros(shape), about)  # noqa: ARG005
        with pytest.raises(UserError, match=r"where \(2, 1, 8, 8, 8\) is due"):
            source.fitting([0, 1])


def test_a_file_that_is_no_python_is_named(workflow_copy: Path) -> None:
    path = workflow_copy / "prdit" / "generators" / "vae.py"
    path.write_text(EXAMPLE.read_text().replace("class VAE(Generator):", "class VAE(Generator:"))
    configure(workflow_copy, **documented(), figures={})
    done = run(workflow_copy, "-n")
    assert done.returncode != 0
    assert "generators/vae.py, line" in done.stdout
