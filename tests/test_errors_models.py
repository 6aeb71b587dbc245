"""Sentences about models, weights and trainings, read aloud: those that no other test hears."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import stepping
import torch

from prdit.config import Backbone, Critic, Sampler
from prdit.config.file import load_file
from prdit.critic import run as critic
from prdit.errors import OutOfMemory, UserError
from prdit.files import write_json
from prdit.generators import base as generators
from prdit.generators import branches, draw, weights
from prdit.generators.base import build
from prdit.generators.convert import convert
from prdit.machine import processes
from prdit.machine.processes import Processes
from prdit.metrics import feature_sets, features
from prdit.models import perceptual
from prdit.models.released_names import from_released, infer
from prdit.published_weights import LPIPS, VGG
from prdit.recipes import BranchesRecipe, CriticRecipe, FeaturesRecipe, SampleRecipe, TrainRecipe
from prdit.training import adopt
from prdit.training.loop import Tally
from prdit.training.run import run as train
from prdit.training.update import Updates

ROOT = Path(__file__).resolve().parents[1]
TINY = stepping.ENTRY
SAMPLER = Sampler(steps=2)


def weights_of(entry: Any, path: Path, size: int = 8) -> Path:
    state = build(entry, size).network.state_dict()
    about = {"window": [-1000.0, 400.0], "spacing_mm": 32.0, "nominal_hu": False, "cohort": "c0"}
    weights.save(path, state, state, TrainRecipe(model=entry, size=size), about)
    return path


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    state = build(TINY, 8).network.state_dict()
    name = next(iter(state))
    state[name] = state[name] * torch.nan
    told = rf"not written: raw.{name}, {name} hold values that are not finite; train anew, with"
    with pytest.raises(UserError, match=told):
        weights.save(tmp_path / "w.safetensors", state, state, TrainRecipe(model=TINY, size=8), {})


def test_weights_of_a_model_too_large(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    weights.save_nothing(path, TrainRecipe(model=TINY, size=8), "3 GiB")
    with pytest.raises(OutOfMemory, match="out of memory: 3 GiB"):
        weights.load(path)
    recipe = BranchesRecipe(dataset="x", model="m", sampler=SAMPLER)
    with pytest.raises(UserError, match=r"m was too large to train \(3 GiB\); name a smaller one"):
        branches.run(recipe, weights=path, volumes=tmp_path / "v.npz", threads=1)
    weights_of(TINY, path)
    with pytest.raises(UserError, match="m has not both branches; name a PRDiT with a stage 1"):
        branches.run(recipe, weights=path, volumes=tmp_path / "v.npz", threads=1)


def test_weights_of_another_training(tmp_path: Path) -> None:
    recipe = SampleRecipe(sampler=SAMPLER, seed=0, first=0, count=1)
    path = weights_of(TINY, tmp_path / "w.safetensors")
    write_json(tmp_path / "run.json", {"sha256": "0" * 64})
    made = {"code": "x", "card": tmp_path / "c.json", "batch": 1, "threads": 1}
    with pytest.raises(UserError, match=r"w.safetensors: it is not what run.json tells of; delete"):
        draw.run(recipe, weights=path, record=tmp_path / "run.json", **made)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"spacing_mm": -1.0}, "--spacing-mm must be positive, and --window its lower end first"),
        ({"window": (400.0, -1000.0)}, "--spacing-mm must be positive, and --window its lower end"),
        ({"heads": 7}, r"this package cannot build such a model: width 24 is no multiple of heads"),
    ],
)
def test_numbers_of_a_conversion(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    from test_convert import network, released

    torch.save(released(network(0)), tmp_path / "a.pt")
    with pytest.raises(UserError, match=told):
        convert(tmp_path / "a.pt", tmp_path / "w.safetensors", **{"size": 8, "heads": 2, **changes})


def test_checkpoints(tmp_path: Path) -> None:
    from test_convert import network, released

    told = r"cannot read the checkpoint .*b.pt: it is no checkpoint of PyTorch, or damaged"
    (tmp_path / "b.pt").write_bytes(b"no")
    with pytest.raises(UserError, match=told):
        convert(tmp_path / "b.pt", tmp_path / "w.safetensors", size=8)
    with pytest.raises(UserError, match=r"cannot read the checkpoint .*none.safetensors: .*o such"):
        convert(tmp_path / "none.safetensors", tmp_path / "w.safetensors", size=8)
    torch.save({"other": torch.zeros(1)}, tmp_path / "c.pt")
    with pytest.raises(UserError, match=r"c.pt: these are no weights of the released PRDiT; unkno"):
        convert(tmp_path / "c.pt", tmp_path / "w.safetensors", size=8)
    whole = released(network(0))
    whole.pop(next(name for name in whole if name.endswith("weight")))
    torch.save(whole, tmp_path / "d.pt")
    with pytest.raises(UserError, match=r"the weights in .*d.pt are no whole PRDiT; missing: "):
        convert(tmp_path / "d.pt", tmp_path / "w.safetensors", size=8, heads=2)
    with pytest.raises(
        UserError, match="these are no weights of the released PRDiT: their names are"
    ):
        from_released({1: torch.zeros(1)})  # type: ignore[dict-item]
    with pytest.raises(UserError, match=r"bias has 7 values, which fit no cubic patch of one chan"):
        infer({"time.to_local.bias": torch.zeros(7)})


def test_published_weights(tmp_path: Path) -> None:
    told = r"cannot read the weights .*; fetch them anew"
    (tmp_path / VGG).write_bytes(b"no")
    with pytest.raises(UserError, match=told) as unreadable:
        perceptual.load(tmp_path)
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / VGG)
    torch.save({"lin0.weight": torch.zeros(1)}, tmp_path / LPIPS)
    with pytest.raises(UserError, match=r"the weights in .* do not fit: .*; fetch them") as others:
        perceptual.load(tmp_path)
    assert "\n" not in f"{unreadable.value}{others.value}"


def test_generators(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(build=lambda *_: object())
    monkeypatch.setattr(generators, "import_module", lambda _: module)
    told = r"`build` of prdit/generators/prdit.py gives no Generator with a `network`; return one"
    with pytest.raises(UserError, match=told):
        build(TINY, 8)
    with pytest.raises(UserError, match=r'a step of a generator must give .*, "loss" among it'):
        Tally().add({"other": torch.zeros(())})


def test_a_vq_gan_draws_nothing() -> None:
    entry = load_file(ROOT / "config/miniature.yaml").models["VQ-GAN"]
    told = "a VQ-GAN alone draws nothing; name the 3D-LDM that starts from it"
    with pytest.raises(UserError, match=told):
        build(entry, 16, None).drawing(SAMPLER)


def test_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = "5 processes cannot share a batch of 4; start fewer"
    arguments = stepping.arguments(tmp_path / "a", processes=5)
    with pytest.raises(UserError, match=told):
        train(TrainRecipe(model=TINY, size=8), **arguments)
    monkeypatch.setattr(processes, "uses_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="2 processes need a GPU each; there are 1"):
        processes.join(2)


def differing(tensor: torch.Tensor, **_: object) -> None:
    """Another process has seen 8 more volumes, and lacks memory."""
    tensor.copy_(torch.maximum(tensor, torch.tensor([tensor[0] + 8, 0])[: len(tensor)]))


def test_processes_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    two = Processes(torch.device("cpu"), count=2)
    monkeypatch.setattr(processes.dist, "all_reduce", differing)
    with pytest.raises(UserError, match="processes found different states; run the same command"):
        two.agree(64)
    generator = build(TINY, 8)
    (optimizer,) = generator.optimizers()
    updates = Updates(two, TINY.training, 1)
    updates.batch(torch.zeros(1, 1, 8, 8, 8), torch.zeros(1, dtype=torch.int64), 2)
    with pytest.raises(OutOfMemory, match="out of memory: more than another process has"):
        updates(optimizer, lambda *_: {"loss": optimizer.param_groups[0]["params"][0].sum()})


def test_a_training_without_a_whole_state(tmp_path: Path) -> None:
    other: Any = SimpleNamespace(folder=tmp_path, newest=lambda: None)
    nothing: Any = None
    with pytest.raises(UserError, match="holds no state that is whole; train anew"):
        adopt.copy(other, TrainRecipe(model=TINY, size=8), None, nothing, nothing)


def test_critics_and_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"dataset": "x", "size": 8, "seed": 0, "models": [("m", "s"), ("n", "s")]}
    made = {"score": tmp_path / "s.json", "code": "x", "batch": 1, "threads": 1}
    real = stepping.store(tmp_path)
    told = "a critic needs the cards of two models' samples; give --first and --second"
    with pytest.raises(UserError, match=told):
        critic.run(CriticRecipe(critic=Critic(), **about), real=real, first=[], second=[], **made)
    recipe = FeaturesRecipe(network=Backbone(network="resnet10", weights=None), beside=None)
    made = {"features": tmp_path / "f.npz", "batch": 1, "threads": 1}
    with pytest.raises(UserError, match="give --real or --cards, not both"):
        feature_sets.run(recipe, real=None, cards=[], **made)
    with pytest.raises(UserError, match="give --real or --cards, not both"):
        feature_sets.run(recipe, real=real, cards=[real], **made)
    monkeypatch.setattr(features, "extract", lambda _, some, __: [np.full(2, np.nan)] * len(some))
    with pytest.raises(UserError, match="makes features that are not finite; check its weights"):
        feature_sets.run(recipe, real=real, cards=[], **made)
    for size in (8, 16):
        write_json(tmp_path / f"{size}.json", {"files": {}, "window": [-1, 1], "size": size})
    told = r"16.json has another size than .*8.json; draw both with one config"
    with pytest.raises(UserError, match=told):
        feature_sets.generated_volumes([tmp_path / "8.json", tmp_path / "16.json"])
