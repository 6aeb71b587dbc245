"""The rivals: their sizes to the digit, their parts, what a step changes, and that they survive."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stepping import ALONE, chests, step, trained
from torch import Tensor, nn

from prdit.config import HAGAN, LDM3D, VQGAN, WDM3D, Model, Sampler, Training
from prdit.diffusion.ddpm import cosine, linear
from prdit.diffusion.noise import seeded
from prdit.errors import Interrupted, OutOfMemory, UserError
from prdit.generators import weights
from prdit.generators.base import Generator, build
from prdit.generators.wdm_3d import from_bands, to_bands
from prdit.machine.stop import Stop
from prdit.models import ha_gan, perceptual, vq_gan
from prdit.models.latent_unet import LatentUNet
from prdit.models.wavelets import haar, inverse_haar
from prdit.models.wdm_unet import WaveletUNet

SIZES = {
    "WDM-3D, 128^3": (lambda: WaveletUNet(64, [1, 2, 2, 4, 4]), 57_914_824),
    "WDM-3D, 256^3": (lambda: WaveletUNet(64, [1, 2, 2, 4, 4, 4]), 83_158_728),
    "HA-GAN, generator at 128^3": (lambda: ha_gan.Generator(128), 52_518_210),
    "HA-GAN, generator at 256^3": (lambda: ha_gan.Generator(256), 52_518_210),
    "HA-GAN, discriminator at 128^3": (lambda: ha_gan.Discriminator(128), 7_241_442),
    "HA-GAN, discriminator at 256^3": (lambda: ha_gan.Discriminator(256), 7_402_258),
    "HA-GAN, slab encoder": (ha_gan.SlabEncoder, 161_152),
    "HA-GAN, volume encoder at 128^3": (lambda: ha_gan.VolumeEncoder(128), 19_663_168),
    "HA-GAN, volume encoder at 256^3": (lambda: ha_gan.VolumeEncoder(256), 19_663_264),
    "3D-LDM, encoder of 3 levels": (lambda: vq_gan.Encoder(3), 1_851_616),
    "3D-LDM, decoder of 3 levels": (lambda: vq_gan.Decoder(3), 4_030_401),
    "3D-LDM, encoder of 2 levels": (lambda: vq_gan.Encoder(2), 441_568),
    "3D-LDM, decoder of 2 levels": (lambda: vq_gan.Decoder(2), 948_417),
    "3D-LDM, encoder of 1 level": (lambda: vq_gan.Encoder(1), 88_800),
    "3D-LDM, decoder of 1 level": (lambda: vq_gan.Decoder(1), 177_473),
    "3D-LDM, first stage of 3 levels": (
        lambda: vq_gan.FirstStage(3, 16, 16384, 8),
        1_851_616 + 4_030_401 + 2_184,
    ),
    "3D-LDM, slice discriminator": (lambda: vq_gan.patch_discriminator(2), 2_764_481),
    "3D-LDM, volume discriminator": (lambda: vq_gan.patch_discriminator(3), 11_049_665),
    "3D-LDM, U-Net 16": (lambda: LatentUNet(16), 3_019_960),
    "3D-LDM, U-Net 32": (lambda: LatentUNet(32), 9_981_528),
    "3D-LDM, U-Net 64": (lambda: LatentUNet(64), 35_730_328),
    "VGG16 and LPIPS": (perceptual.Perceptual, 14_714_688 + 1_472),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_the_originals(name: str) -> None:
    make, expected = SIZES[name]
    with torch.device("meta"):
        network: nn.Module = make()
    assert sum(p.numel() for p in network.parameters()) == expected


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- Parts --------------------------------------------------------------------------------------


def test_haar_bands_keep_everything() -> None:
    x = random(2, 1, 8, 8, 8)
    bands = haar(x)
    assert bands.shape == (2, 8, 4, 4, 4)
    torch.testing.assert_close(inverse_haar(bands), x)
    torch.testing.assert_close(bands.square().sum(), x.square().sum())
    torch.testing.assert_close(from_bands(to_bands(x)), x)


def test_haar_bands_are_the_librarys() -> None:
    import ptwt

    x = random(2, 1, 8, 6, 4)
    low, detail = ptwt.wavedec3(x[:, 0], "haar", level=1, mode="zero")
    theirs = [low, *(detail[key] for key in ("aad", "ada", "add", "daa", "dad", "dda", "ddd"))]
    torch.testing.assert_close(haar(x), torch.stack(theirs, dim=1))


MONAI = {
    "linear, beta": (
        linear(1000),
        lambda s: s.ancestral(1000, "beta"),
        {"schedule": "linear_beta", "beta_start": 1e-4, "beta_end": 2e-2},
        "fixed_large",
    ),
    "cosine, posterior": (
        cosine(300, most=0.999),
        lambda s: s.ancestral(300, "posterior"),
        {"schedule": "cosine"},
        "fixed_small",
    ),
}


@pytest.mark.parametrize("name", MONAI)
def test_ancestral_steps_are_the_librarys(name: str) -> None:
    from monai.networks.schedulers import DDPMScheduler

    schedule, make, options, variance = MONAI[name]
    usual = DDPMScheduler(
        schedule.timesteps,
        prediction_type="sample",
        variance_type=variance,
        clip_sample=False,
        **options,
    )
    np.testing.assert_allclose(usual.alphas_cumprod, schedule.kept(), rtol=2e-4, atol=1e-7)
    plan = make(schedule)
    x, x0 = random(2, 1, 1, 4, 4, 4).double()
    for t in (schedule.timesteps - 2, 150, 3):
        taken = plan.steps[plan.times.index(t)]
        expected, _ = usual.step(x0, t, x, generator=torch.Generator().manual_seed(0))
        stream = torch.Generator().manual_seed(0)
        z = torch.randn(x.shape, generator=stream, dtype=torch.float64)
        found = x * taken.of_x + x0 * taken.of_x0 + z * taken.of_noise
        torch.testing.assert_close(found, expected, atol=5e-4, rtol=0)  # it computes in float32


def test_noise_tells_the_volume() -> None:
    schedule, x0, eps = cosine(300), random(3, 1, 2, 2, 2), random(3, 1, 2, 2, 2, seed=1)
    t = torch.tensor([0, 100, 250])
    x = schedule.diffuse(x0, eps, t)
    torch.testing.assert_close(schedule.undone(x, eps, t), x0, atol=1e-4, rtol=0)


def test_a_book_follows_what_is_encoded() -> None:
    """Two clusters, two vectors: each becomes a running mean; what is not used begins anew."""
    book = vq_gan.Codebook(3, 2)
    ones = torch.tensor(True)
    fresh = torch.tensor([[5.0, 5.0], [-5.0, -5.0], [9.0, 9.0]])
    book.follow(torch.zeros(3), torch.zeros(3, 2), fresh, ones)
    torch.testing.assert_close(book.vectors, fresh)
    h = torch.tensor([[4.0, 4.0], [4.0, 4.0], [-6.0, -6.0]]).T.reshape(1, 2, 3, 1, 1)
    counts, sums = book.used(h)
    assert counts.tolist() == [2, 1, 0]
    assert sums.tolist() == [[8, 8], [-6, -6], [0, 0]]
    torch.testing.assert_close(book(h)[0, :, 0, 0, 0], torch.tensor([5.0, 5.0]))
    anew = torch.full((3, 2), 7.0)
    book.follow(counts, sums, anew, torch.tensor(False))
    torch.testing.assert_close(book.vectors, fresh)
    book.follow(counts, sums, anew, ones)
    expected = (0.99 * 5 + 0.01 * 8) / (0.99 + 0.01 * 2)
    assert float(book.vectors[0, 0]) == pytest.approx(expected, abs=1e-4)
    assert book.vectors[2].tolist() == [7, 7]  # 0.99 of a place a step is less than one
    assert float(book.counts[2]) == 1


def test_discriminators_are_as_the_librarys() -> None:
    """Shapes of every stage whose features are to match; MONAI's last one pads less."""
    from monai.networks.nets import PatchDiscriminator

    for dimensions in (2, 3):
        theirs = PatchDiscriminator(
            spatial_dims=dimensions, channels=8, in_channels=1, num_layers_d=3, padding=2
        )
        x = random(2, 1, *[16] * dimensions)
        mine = vq_gan.patch_discriminator(dimensions, [8, 16, 32, 64])
        found, shapes = x, []
        for stage in mine:
            found = stage(found)
            shapes.append(tuple(found.shape))
        assert shapes[:-1] == [tuple(one.shape) for one in theirs(x)][:-1]


def test_images_that_look_alike_are_near(tmp_path: Path) -> None:
    with seeded(0, "a test"):
        made = perceptual.Perceptual()
    made.weighting.requires_grad_(False).apply(
        lambda one: one.weight.abs_() if isinstance(one, nn.Conv2d) else None
    )
    state = made.state_dict()
    trunk = {k: v for k, v in state.items() if k.startswith("features.")}
    torch.save({**trunk, "classifier.0.weight": torch.zeros(1)}, tmp_path / perceptual.VGG)
    lins = {f"lin{i}.model.1.weight": state[f"weighting.{i}.weight"] for i in range(5)}
    torch.save(lins, tmp_path / perceptual.LPIPS)
    network = perceptual.load(tmp_path)
    x = random(2, 1, 32, 32).clamp(-1, 1)
    near, far = x + 0.05, x.flip(-1)
    assert network(x, x).tolist() == [0, 0]
    torch.testing.assert_close(network(x, far), network(far, x))
    assert (network(x, near) < network(x, far)).all()
    blurred = x.clone().requires_grad_()
    network(blurred, far).sum().backward()
    assert blurred.grad is not None
    (tmp_path / perceptual.VGG).write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match="cannot read the weights"):
        perceptual.load(tmp_path)


# --- Training -----------------------------------------------------------------------------------

SHORT = Training(volumes=24, batch=4, learning_rate=2e-3, ema=0.5)
NO_AVERAGE = SHORT.model_copy(update={"ema": 0.0})
BASE = VQGAN(
    generator="vq_gan",
    levels=1,
    hidden=8,
    codes=16,
    discriminator_width=4,
    discriminators_from=8,
    training=NO_AVERAGE,
)
ENTRIES: dict[str, Model] = {
    "HA-GAN": HAGAN(generator="ha_gan", width=8, latent=16, training=NO_AVERAGE),
    "VQ-GAN": BASE,
    "3D-LDM": LDM3D(
        generator="ldm_3d", start_from="VQ-GAN", width=8, multiples=[1, 2], training=SHORT
    ),
    "WDM-3D": WDM3D(generator="wdm_3d", base=8, multiples=[1, 2], training=SHORT),
}
OWN = Sampler(kind="own", steps=5)


def made(name: str, size: int = 16) -> Generator:
    return build(ENTRIES[name], size, BASE if name == "3D-LDM" else None)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a first stage."""
    return trained(tmp_path_factory.mktemp("first"), BASE, size=16)


def after(name: str, first: Path) -> dict[str, Any]:
    """What a training of a rival is told beside its entry."""
    return {"size": 16, **({"base": BASE, "start_from": first} if name == "3D-LDM" else {})}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_rival_stopped_and_gone_on_is_the_same_to_the_byte(
    name: str, tmp_path: Path, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(tmp_path / "whole", ENTRIES[name], **after(name, first))
    left = iter([False, False, True])
    with monkeypatch.context() as patched:
        patched.setattr(Stop, "asked", lambda _: next(left))
        with pytest.raises(Interrupted):
            trained(tmp_path / "parts", ENTRIES[name], **after(name, first))
    parts = trained(tmp_path / "parts", ENTRIES[name], **after(name, first))
    assert parts.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("name", ["HA-GAN", "3D-LDM", "WDM-3D"])
def test_a_rival_draws_by_address(name: str, tmp_path: Path, first: Path) -> None:
    path = trained(tmp_path, ENTRIES[name], **after(name, first))
    draw = weights.load(path)[0].drawing(OWN)
    both = draw(torch.tensor([4, 7]), 0)
    assert both.shape == (2, 1, 16, 16, 16)
    torch.testing.assert_close(draw(torch.tensor([7]), 0)[0], both[1], atol=1e-5, rtol=1e-5)
    assert not torch.equal(draw(torch.tensor([7]), 1)[0], both[1])
    assert not torch.equal(both[0], both[1])


@pytest.mark.parametrize("name", ENTRIES)
def test_initial_weights_are_a_function_of_the_seed(name: str) -> None:
    torch.manual_seed(1)
    one = made(name).network.state_dict()
    torch.manual_seed(2)
    two = made(name).network.state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)


PARTS = {
    "HA-GAN": {"generator", "discriminator", "slab_encoder", "volume_encoder"},
    "VQ-GAN": {"first", "of_slices", "of_volumes"},
    "3D-LDM": {"unet"},
    "WDM-3D": {"times", "first", "down", "middle", "up", "last_norm", "last"},
}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_step_changes_what_it_should(name: str) -> None:
    model = made(name)
    model.optimizers()
    before = {n: p.clone() for n, p in model.network.named_parameters()}
    told: dict[str, Tensor] = {}
    for number in range(3):  # layers that start at zero let nothing through at first
        index = torch.arange(4) + 4 * (number + 2)
        told = step(model, chests(16)[[0, 1, 2, 0]][:, None], index, SHORT)
    assert all(value.isfinite() and value.dim() == 0 for value in told.values())
    changed = {
        n.split(".")[0] for n, p in model.network.named_parameters() if (p != before[n]).any()
    }
    assert changed == PARTS[name]


@pytest.mark.parametrize("name", ENTRIES)
def test_micro_batches_change_rounding_alone(name: str) -> None:
    """Gradients, and the book. A discriminator's batch norm knows its micro-batch: none counts."""
    found = []
    for micro_batch in (4, 2):
        model = made(name)
        model.optimizers()
        x0 = chests(16)[[0, 1, 2, 0]][:, None]
        step(model, x0, torch.arange(4), SHORT, ALONE, micro_batch)
        book = {n: b for n, b in model.network.named_buffers() if "codebook" in n}
        gradients = {n: p.grad for n, p in model.network.named_parameters() if p.grad is not None}
        found.append(book | gradients)
    scale = max(float(value.abs().max()) for value in found[0].values())
    for key in found[0]:
        torch.testing.assert_close(found[0][key], found[1][key], atol=1e-5 * scale, rtol=1e-4)


@pytest.mark.parametrize("name", ["HA-GAN", "VQ-GAN"])
def test_a_step_that_is_not_finite_leaves_nothing_behind(name: str) -> None:
    """Neither in weights nor in what is no weight; and it is told."""
    model = made(name)
    model.optimizers()
    x0 = chests(16)[[0, 1, 2, 0]][:, None]
    step(model, x0, torch.arange(4), SHORT)
    before = {n: v.clone() for n, v in model.network.state_dict().items()}
    told = step(model, x0 * float("nan"), torch.arange(4) + 4, SHORT)
    assert not all(value.isfinite() for value in told.values())
    after = model.network.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    parameters = {n for n, _ in model.network.named_parameters()}
    touched = {n for n in parameters if not torch.equal(after[n], before[n])}
    assert not {n for n in touched if name == "VQ-GAN" or n.startswith("discriminator.")}
    assert torch.isfinite(step(model, x0, torch.arange(4) + 8, SHORT)["loss"])


def losses_of(model: Generator, steps: int) -> list[float]:
    x0 = chests(16)[[0, 1, 2, 0]][:, None]
    model.optimizers()
    told = [step(model, x0, torch.arange(4) + 4 * i, SHORT) for i in range(steps)]
    return [float(one.get("likeness", one["loss"])) for one in told]


@pytest.mark.parametrize(("name", "share"), [("VQ-GAN", 0.6), ("3D-LDM", 0.95), ("WDM-3D", 0.6)])
def test_losses_fall(name: str, share: float) -> None:
    """How far samples come is asserted where there is time to train: test_miniature.py."""
    found = losses_of(made(name), 30)
    assert sum(found[-5:]) < share * sum(found[:5])


def test_ha_gans_encoders_learn() -> None:
    model = made("HA-GAN")
    model.optimizers()
    x0 = chests(16)[[0, 1, 2, 0]][:, None]
    told = [step(model, x0, torch.arange(4) + 4 * i, SHORT) for i in range(30)]
    for name in ("slab_encoder", "volume_encoder"):
        assert told[-1][name] < 0.9 * told[0][name]


def test_ha_gan_cuts_slabs_where_it_says() -> None:
    entry = HAGAN(generator="ha_gan", training=Training(volumes=1, batch=2), width=8, latent=16)
    model: Any = build(entry, 32)
    starts = model.slab_starts(torch.arange(400))
    assert (starts[::2] == starts[1::2]).all()  # one for a batch of two
    assert (int(starts.min()), int(starts.max())) == (0, 28)
    x = torch.arange(32.0).view(1, 1, 32, 1, 1).expand(1, 1, 32, 32, 32)
    slab = model.slabs(x, torch.tensor([9]))
    assert slab.shape == (1, 1, 4, 32, 32)
    assert slab[0, 0, :, 0, 0].tolist() == [9, 10, 11, 12]


@pytest.mark.parametrize("size", [16, 32, 64])
def test_ha_gans_slabs_are_those_of_its_volumes(size: int) -> None:
    """A slab of the features makes the slab of the volume; all but its borders, which see less."""
    network = ha_gan.Generator(size, 8, 16).eval()
    norms = [m for m in network.high.modules() if isinstance(m, nn.GroupNorm)]
    for norm in norms:  # which looks at all of what it gets
        norm.forward = lambda x: x  # type: ignore[method-assign]
    features = network.features(random(1, 16))
    whole = network.volume(features)
    start, thick = size // 2, max(size // 4, 8)
    slab = network.volume(features[:, :, start // 4 : (start + thick) // 4])
    torch.testing.assert_close(slab[:, :, 3:-3], whole[:, :, start + 3 : start + thick - 3])


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
def test_ha_gans_networks_fit_together(size: int) -> None:
    with torch.device("meta"):
        entry = HAGAN(generator="ha_gan", width=8, latent=16, training=SHORT)
        model: Any = build(entry, size)
        x, small = torch.empty(2, 1, *[size] * 3), torch.empty(2, 1, *[size // 4] * 3)
        parts, thick = model.network, max(size // 8, 4)
        assert parts.generator(torch.empty(2, 16)).shape == x.shape
        slab = x[:, :, :thick]
        assert parts.discriminator(slab, small, torch.empty(2)).shape == (2,)
        features = parts.generator.features(torch.empty(2, 16))
        encoded = parts.slab_encoder(slab)
        assert encoded.shape == features[:, :, : thick // 4].shape
        assert parts.volume_encoder(features).shape == (2, 16)


def test_unets_begin_at_nothing() -> None:
    """WDM-3D predicts zero bands, as its last layer is zero; attention of 3D-LDM adds to a skip."""
    network = WaveletUNet(8, [1, 2])
    assert network(random(1, 8, 8, 8, 8), torch.tensor([3])).abs().max() == 0


def test_attention_in_depth_tells_slices_apart() -> None:
    """What a slice becomes depends on the others, and on where they are."""
    with seeded(0, "a test"):
        network = LatentUNet(8, 4, (1, 2)).eval()
    x, t = random(1, 4, 4, 8, 8), torch.tensor([5])
    moved = x.clone()
    moved[:, :, 3] += 1
    with torch.no_grad():
        before, far = network(x, t), network(moved, t)
        turned = network(x.flip(2), t).flip(2)
    assert (before[:, :, 0] - far[:, :, 0]).abs().max() > 1e-5
    assert (before - turned).abs().max() > 1e-4


def test_too_large_a_first_stage_is_a_result_for_what_starts_from_it(tmp_path: Path) -> None:
    weights.save_nothing(tmp_path / "w.safetensors", recipe_of("VQ-GAN"), "3 GiB")
    with pytest.raises(OutOfMemory, match="3 GiB"):
        weights.load(tmp_path / "w.safetensors")


def recipe_of(name: str) -> Any:
    from prdit.recipes import TrainRecipe

    return TrainRecipe(model=ENTRIES[name], size=16)


def test_a_first_stage_alone_draws_nothing() -> None:
    with pytest.raises(UserError, match="draws nothing"):
        made("VQ-GAN").drawing(OWN)


def test_cosine_levels_fall_to_nothing() -> None:
    kept = cosine(300).kept()
    assert kept[0] == pytest.approx(0.99984, abs=2e-5)
    assert all(now > then for now, then in pairwise(kept))
    assert kept[-1] < 1e-7
    assert math.isclose(linear(1000).kept()[0], 1 - 1e-4)


@pytest.mark.parametrize(("name", "within"), [("VQ-GAN", "first."), ("3D-LDM", "")])
def test_a_start_of_another_shape_is_refused_and_all_of_it_named(name: str, within: str) -> None:
    wider = build(BASE.model_copy(update={"hidden": 2 * BASE.hidden}), 16)
    with pytest.raises(UserError, match=r"^the weights to start from do not fit: ") as caught:
        made(name).start_from(wider)
    named = str(caught.value).split(": ")[-1].split("; ")[0].split(", ")
    stage: nn.Module = made("3D-LDM").network.first  # type: ignore[assignment]
    its: nn.Module = wider.network.first  # type: ignore[assignment]
    mine = stage.state_dict()
    other = [n for n, t in its.state_dict().items() if n in mine and mine[n].shape != t.shape]
    assert other
    assert {within + n for n in other} <= set(named)
