"""The feature network: MedicalNet's geometry, strict weights, finite input in [-1, 1]."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from prdit.config import Backbone
from prdit.errors import UserError
from prdit.metrics import feature_sets
from prdit.metrics.features import extract, load_medicalnet, randomise, resnet_3d
from prdit.recipes import FeaturesRecipe

TOY = Backbone(network="resnet10", weights=None)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    found = resnet_3d("resnet10")
    randomise(found, 0)
    return found


def test_the_last_layers_dilate_instead_of_striding(network: nn.Module) -> None:
    seen = {}
    for name in ("layer2", "layer3", "layer4"):
        network.get_submodule(name).register_forward_hook(
            lambda _module, _input, output, name=name: seen.update({name: output.shape[2:]})
        )
    network(torch.zeros(1, 1, 32, 32, 32))
    assert {tuple(shape) for shape in seen.values()} == {(4, 4, 4)}


def test_features_do_not_depend_on_the_batch(network: nn.Module) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (5, 16, 16, 16)).astype(np.float32)
    one, many = (np.stack(list(extract(network, x, batch))) for batch in (1, 3))
    assert one.shape == (5, 512)
    np.testing.assert_allclose(one, many, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.5])
def test_bad_voxels_are_refused(network: nn.Module, value: float) -> None:
    x = np.zeros((1, 16, 16, 16), np.float32)
    x[0, 3, 3, 3] = value
    with pytest.raises(UserError, match=r"not finite or leaves \[-1, 1\]"):
        list(extract(network, x, 1))


def test_weights_load_whole_or_not_at_all(network: nn.Module, tmp_path: Path) -> None:
    state = {f"module.{k}": v for k, v in network.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "good.pth")
    fresh = resnet_3d("resnet10")
    load_medicalnet(fresh, tmp_path / "good.pth")
    assert torch.equal(fresh.get_parameter("conv1.weight"), network.get_parameter("conv1.weight"))
    del state["module.conv1.weight"]
    torch.save({"state_dict": state}, tmp_path / "short.pth")
    with pytest.raises(UserError, match=r"1 keys differ, e.g. conv1.weight"):
        load_medicalnet(fresh, tmp_path / "short.pth")


def test_a_pickle_with_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "executed"),)

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="cannot read the feature weights"):
        load_medicalnet(resnet_3d("resnet10"), tmp_path / "evil.pth")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("beside", [None, TOY])
def test_memory_does_not_grow_with_the_number_of_volumes(
    beside: Backbone | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[weakref.ref[np.ndarray]] = []
    alive = []

    def volumes() -> Iterator[np.ndarray]:
        for i in range(12):
            volume = np.full((8, 8, 8), i / 12, np.float32)
            made.append(weakref.ref(volume))
            alive.append(sum(one() is not None for one in made))
            yield volume

    names = [str(i) for i in range(12)]
    read = (volumes(), names, [], {"window": [-1000, 400]})
    monkeypatch.setattr(feature_sets, "generated_volumes", lambda _: read)
    (tmp_path / "000.json").write_text("{}")
    paths = {"real": None, "cards": [tmp_path / "000.json"], "features": tmp_path / "f.npz"}
    recipe = FeaturesRecipe(network=TOY, beside=beside)
    feature_sets.run(recipe, **paths, batch=2, threads=1)
    assert len(feature_sets.read(tmp_path / "f.npz").features) == 12
    assert max(alive) <= 5  # two batches, and one that is being made
