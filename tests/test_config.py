"""The config tells every mistake in one plain sentence, and its schema is that of the models."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from prdit.config import Config
from prdit.config.file import load, load_file
from prdit.config.reference import markdown
from prdit.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
GOOD: dict[str, Any] = {
    "name": "small",
    "datasets": {"chests": {"label": "Chests", "source": {"kind": "phantom"}}},
    "models": {
        "local": {"depth": 0, "training": {"volumes": 10}},
        "PRDiT-4L": {"depth": 4, "start_from": "local", "training": {"volumes": 10}},
    },
    "samplers": {"k2": {"k": 2}},
    "tables": {
        "table_1": {
            "datasets": ["chests"],
            "size": 64,
            "sampler": "k2",
            "rows": ["PRDiT-4L"],
        }
    },
}

MISTAKES = [
    ("datasetz", {}, "config key 'datasetz' is unknown; did you mean 'datasets'?"),
    ("models.local.dpeth", 3, "config key 'models.local.dpeth' is unknown; did you mean 'depth'?"),
    (
        "torch_build",
        "cu128",
        "config key 'torch_build' is 'cu128': input should be 'default', 'cu126', 'cu130' or 'cpu'",
    ),
    (
        "models.local.training.learning_rat",
        1,
        "config key 'models.local.training.learning_rat' is unknown; did you mean 'learning_rate'?",
    ),
    (
        "models.local.training.learning_rate",
        "fast",
        "config key 'models.local.training.learning_rate' is 'fast': input should be a valid number"
        ", unable to parse string as a number",
    ),
    (
        "models.local.training.volumes",
        None,
        "config key 'models.local.training.volumes' is None: input should be a valid integer",
    ),
    (
        "models.PRDiT-4L.width",
        64,
        "config, models.PRDiT-4L: width 64 is no multiple of 6, which the 3D position code needs;"
        " write 60 or 72",
    ),
    (
        "models.local.patch",
        7,
        "config, models.local: patch 7 must exceed stride 8 by an even number, or equal it"
        " (no overlap)",
    ),
    (
        "models.local.width",
        384,
        "config: models.PRDiT-4L.width is 768 but 384 in 'local', whose Local Denoiser it starts"
        " from; write the same value in both",
    ),
    (
        "datasets.chests.source.cuont",
        5,
        "config key 'datasets.chests.source.cuont' is unknown; did you mean 'count'?",
    ),
    (
        "datasets.chests.window",
        {"low": 100, "high": 0},
        "config, datasets.chests.window: low (100 HU) must be below high (0 HU)",
    ),
    (
        "tables.table_1.rows",
        ["PRDiT-5L"],
        "config: tables.table_1.rows: 'PRDiT-5L' is not defined; did you mean 'PRDiT-4L'?",
    ),
    (
        "tables.table_1.size",
        96,
        "config: tables.table_1.size: 96 does not divide datasets.chests.grid.size (256), from"
        " which volumes are average-pooled",
    ),
    (
        "tables.table_1.rows",
        ["PRDiT-4L", "PRDiT-4L"],
        "config: tables.table_1.rows has one entry twice; write each once",
    ),
    ("name", "my run", "config key 'name' is 'my run': write letters, digits, "),
    ("datasets", {}, "config key 'datasets' is {}: write one entry at least"),
    (
        "datasets.chests.source",
        {"kind": "zip"},
        "config key 'datasets.chests.source' is {'kind': 'zip'}: write a `kind`",
    ),
    ("samplers.k2.k", 0.5, "config key 'samplers.k2.k' is 0.5: input should be greater than or"),
    (
        "name",
        "../../etc",
        "config key 'name' is '../../etc': write letters, digits, '.', '_' and",
    ),
]


def changed(where: str, value: Any) -> dict[str, Any]:
    raw = copy.deepcopy(GOOD)
    *path, last = where.split(".")
    place = raw
    for part in path:
        place = place[part]
    place[last] = value
    return raw


@pytest.mark.parametrize(("where", "value", "sentence"), MISTAKES)
def test_a_mistake_is_one_sentence(where: str, value: Any, sentence: str) -> None:
    load(GOOD)
    with pytest.raises(UserError) as caught:
        load(changed(where, value))
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_data_sets_alone_are_enough() -> None:
    raw = {key: copy.deepcopy(GOOD)[key] for key in ("name", "datasets")}
    assert load(raw).selections() == {}


@pytest.mark.parametrize(("key", "value"), [("max_excluded", 1.5), ("split", {"held_out": 2.5})])
def test_a_number_is_a_share_or_a_count(key: str, value: object) -> None:
    raw = copy.deepcopy(GOOD)
    next(iter(raw["datasets"].values()))[key] = value
    with pytest.raises(UserError, match=r"write a share below 1, or a whole number"):
        load(raw)


def test_a_missing_key_is_named() -> None:
    raw = copy.deepcopy(GOOD)
    del raw["models"]["local"]["training"]["volumes"]
    with pytest.raises(UserError, match=r"'models.local.training.volumes' is missing; add it"):
        load(raw)


@pytest.mark.parametrize("text", ["", "- a list", "a: [unclosed"])
def test_a_file_that_is_no_config(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=str(path)):
        load_file(path)


def test_a_sha256_that_is_none_says_so() -> None:
    model = {"generator": "wdm_3d", "weights": "w.pt", "sha256": "0000"}
    raw = yaml.safe_load((ROOT / "config/quickstart.yaml").read_text())
    raw["models"]["given"] = model
    with pytest.raises(UserError, match="sha256 is 64 hexadecimal digits, not '0000'"):
        load(raw)


def test_the_page_of_all_keys_is_that_of_the_models() -> None:
    assert (ROOT / "docs/configuration.md").read_text() == markdown() + "\n", "run `make schema`"


def test_the_schema_is_that_of_the_models() -> None:
    committed = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    assert committed == json.loads(json.dumps(Config.model_json_schema())), "run `make schema`"


@pytest.mark.parametrize("name", ["quickstart", "paper"])
def test_shipped_configs_load_and_are_called_by_their_name(name: str) -> None:
    assert load_file(ROOT / f"config/{name}.yaml").name == name


def locked() -> set[str]:
    lines = (ROOT / "requirements.lock").read_text().lower().splitlines()
    return {line.strip() for line in lines}


@pytest.mark.parametrize("env", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda p: p.stem)
def test_environments_pin_the_versions_of_the_lock(env: Path) -> None:
    deps = yaml.safe_load(env.read_text())["dependencies"]
    (pins,) = (d["pip"] for d in deps if isinstance(d, dict))
    assert {pin.lower() for pin in pins} <= locked()


def test_the_lock_has_no_local_versions() -> None:
    assert not [line for line in locked() if "+" in line]
