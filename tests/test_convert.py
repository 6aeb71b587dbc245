"""A checkpoint of the released code as a weights file: exact, or refused with a reason."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from prdit.errors import UserError
from prdit.generators import weights
from prdit.generators.convert import convert
from prdit.models.prdit import PRDiT
from prdit.models.released_names import _PARTS, Architecture, from_released, infer

SIZE, HEADS = 8, 4


def network(seed: int, depth: int = 2) -> PRDiT:
    made = PRDiT(SIZE, patch=4, stride=2, width=24, heads=HEADS, depth=depth)
    random = torch.Generator().manual_seed(seed)
    for parameter in made.parameters():
        parameter.data.normal_(std=0.1, generator=random)
    return made


def released(made: PRDiT) -> dict[str, Tensor]:
    """Its weights as the released code names them."""
    names = {}
    for theirs, ours in _PARTS.items():
        for block in range(9) if "*" in ours else [0]:
            for kind in ("weight", "bias"):
                here = f"{ours}.{kind}".replace("*", str(block))
                names[here] = f"{theirs}.{kind}".replace("*", str(block))
    return {names[ours]: tensor for ours, tensor in made.state_dict().items()}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    sets = {"model": released(network(0)), "ema": released(network(1)), "steps": 7}
    torch.save(sets, tmp_path / "released.pt")
    return tmp_path / "released.pt"


def estimate(made: torch.nn.Module) -> Tensor:
    random = torch.Generator().manual_seed(2)
    x = torch.randn(2, 1, SIZE, SIZE, SIZE, generator=random)
    with torch.no_grad():
        return torch.cat(made(x, torch.tensor([3, 990])))


@pytest.mark.parametrize("as_trained", [False, True])
def test_averaged_and_raw_weights_both_arrive(
    checkpoint: Path, as_trained: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    out = checkpoint.with_name("ours.safetensors")
    convert(checkpoint, out, size=SIZE, heads=HEADS)
    assert 'the averaged weights ("ema")' in capsys.readouterr().out
    generator, about = weights.load(out, raw=as_trained)
    wanted = network(0 if as_trained else 1)
    assert torch.equal(estimate(generator.network), estimate(wanted))
    window = {"window": [-1000, 1000], "nominal_hu": True}
    assert about == {"size": SIZE, "spacing_mm": 32, **window}


def test_raw_samples_from_the_weights_before_averaging(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = checkpoint.with_name("ours.safetensors")
    convert(checkpoint, out, size=SIZE, heads=HEADS, raw=True)
    assert 'the raw weights ("model")' in capsys.readouterr().out
    assert torch.equal(estimate(weights.load(out)[0].network), estimate(network(0)))


@pytest.mark.parametrize("kept", ["ema", "model", None])
@pytest.mark.parametrize("depth", [0, 2])
def test_the_only_weights_are_taken_and_it_is_said(
    tmp_path: Path, kept: str | None, depth: int, capsys: pytest.CaptureFixture[str]
) -> None:
    state = {f"module.{name}": t for name, t in released(network(3, depth)).items()}
    torch.save(state if kept is None else {kept: state}, tmp_path / "released.pt")
    out = tmp_path / "ours.safetensors"
    convert(tmp_path / "released.pt", out, size=SIZE, heads=HEADS)
    assert "the only weights" + (f' ("{kept}")' if kept else "") in capsys.readouterr().out
    assert torch.equal(estimate(weights.load(out)[0].network), estimate(network(3, depth)))


def test_safetensors_are_read_too(tmp_path: Path) -> None:
    save_file(released(network(3)), tmp_path / "released.safetensors")
    out = tmp_path / "ours.safetensors"
    convert(tmp_path / "released.safetensors", out, size=SIZE, heads=HEADS)
    assert torch.equal(estimate(weights.load(out)[0].network), estimate(network(3)))


def test_the_shapes_tell_the_architecture() -> None:
    released_state = released(network(0)) | {"fine.pos_embed": torch.zeros(1, 64, 24)}
    state = from_released(released_state)
    assert set(state) == set(network(0).state_dict())
    assert infer(state) == Architecture(patch=4, stride=2, width=24, depth=2)


def refused(path: Path, reason: str, **numbers: int | None) -> None:
    out = path.with_name("ours.safetensors")
    with pytest.raises(UserError, match=reason):
        convert(path, out, **{"size": SIZE, "heads": HEADS, **numbers})
    assert not out.exists()


def test_numbers_that_do_not_fit(checkpoint: Path) -> None:
    refused(checkpoint, "width 24 is no released size; give the number of --heads", heads=None)
    refused(checkpoint, r"width 24 is no multiple of heads \(5\); write 30", heads=5)
    refused(checkpoint, "--size 9 is no multiple of the model's stride 2", size=9)


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "executed"),)

    torch.save({"ema": released(network(0)), "args": Evil()}, tmp_path / "evil.pt")
    refused(tmp_path / "evil.pt", r"carries \w+ beside tensors.*save only its 'model'")
    assert not (tmp_path / "executed").exists()
    torch.save({"ema": {}, "args": argparse.Namespace(a=1)}, tmp_path / "args.pt")
    refused(tmp_path / "args.pt", "carries argparse.Namespace beside tensors")


def test_files_that_hold_no_weights(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere.pt", "cannot read the checkpoint .*No such file")
    for name in ("text.pt", "text.safetensors"):
        (tmp_path / name).write_text("these are no weights")
        refused(tmp_path / name, "cannot read the checkpoint")
    torch.save([1, 2], tmp_path / "list.pt")
    refused(tmp_path / "list.pt", "holds a list, no weights by name")
    torch.save({"steps": 7}, tmp_path / "steps.pt")
    refused(tmp_path / "steps.pt", 'must hold "ema" or "model", or be weights by name itself')


@pytest.mark.parametrize("kept", ["ema", "model"])
def test_every_wrong_tensor_is_named(tmp_path: Path, kept: str) -> None:
    """Also those of the weights that are not sampled from."""
    state = released(network(0))
    del state["fine.blocks.0.attn.qkv.bias"], state["coarse.mlp_denoise.linear_final.weight"]
    state["fine.blocks.1.mlp.fc1.weight"] = torch.zeros(3, 24)
    state["fine.patch_embedder.skip.bias"] = torch.zeros(24)
    whole = released(network(1))
    torch.save({"ema": whole, "model": whole, kept: state}, tmp_path / "released.pt")
    refused(
        tmp_path / "released.pt",
        r"missing: local\.head\.weight, residual\.blocks\.0\.attention\.qkv\.bias;"
        r" surplus: residual\.embedding\.skip\.bias;"
        r" of another shape: residual\.blocks\.1\.hidden\.weight$",
    )


def test_every_unknown_name_is_named(tmp_path: Path) -> None:
    state = released(network(0)) | {"fine.gate.weight": torch.zeros(1), "y": torch.zeros(1)}
    torch.save({"ema": state}, tmp_path / "released.pt")
    refused(tmp_path / "released.pt", r"unknown names: fine\.gate\.weight, y$")
    short = {n: t for n, t in released(network(0)).items() if "mlp.0" not in n}
    torch.save({"ema": short}, tmp_path / "short.pt")
    refused(tmp_path / "short.pt", r"hold no vector time\.trunk\.bias")


def test_an_output_that_exists_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "mine.safetensors"
    out.write_bytes(b"precious")
    with pytest.raises(UserError, match=r"exists already or does not end in .safetensors"):
        convert(tmp_path / "any.pt", out, size=SIZE)
    assert out.read_bytes() == b"precious"
