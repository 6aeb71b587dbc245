"""The rivals: their sizes to the digit, their transforms, what one step changes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from prdit.diffusion.ddpm import linear
from prdit.generators.base import Losses
from prdit.generators.ha_gan import HAGAN
from prdit.generators.wdm_3d import WDM3D, from_bands, to_bands
from prdit.models import ha_gan, vq_gan
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
    "3D-LDM, slice discriminator": (lambda: vq_gan.patch_discriminator(2), 2_764_481),
    "3D-LDM, volume discriminator": (lambda: vq_gan.patch_discriminator(3), 11_049_665),
    "3D-LDM, U-Net 16": (lambda: LatentUNet(16), 3_019_960),
    "3D-LDM, U-Net 32": (lambda: LatentUNet(32), 9_981_528),
    "3D-LDM, U-Net 64": (lambda: LatentUNet(64), 35_730_328),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_the_originals(name: str) -> None:
    make, expected = SIZES[name]
    with torch.device("meta"):
        network: nn.Module = make()
    assert sum(p.numel() for p in network.parameters()) == expected


def test_haar_bands_keep_everything() -> None:
    x = torch.randn(2, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    bands = haar(x)
    assert bands.shape == (2, 8, 4, 4, 4)
    torch.testing.assert_close(inverse_haar(bands), x)
    torch.testing.assert_close(bands.square().sum(), x.square().sum())
    torch.testing.assert_close(from_bands(to_bands(x)), x)
    assert haar(torch.ones(1, 1, 4, 4, 4))[:, 1:].abs().max() < 1e-6
    along_x = torch.arange(8.0).repeat(8, 8, 1)[None, None]
    assert [i for i in range(8) if haar(along_x)[0, i].abs().max() > 1e-5] == [0, 1]  # LLL, LLH


def test_ancestral_steps_are_the_librarys() -> None:
    from monai.networks.schedulers import DDPMScheduler

    usual = DDPMScheduler(
        1000,
        "linear_beta",
        beta_start=1e-4,
        beta_end=2e-2,
        prediction_type="sample",
        variance_type="fixed_large",
        clip_sample=False,
    )
    plan = linear(1000).ancestral(1000, "beta")
    x, x0 = torch.randn(2, 1, 1, 4, 4, 4, dtype=torch.float64)
    for t in (999, 500, 3):
        step = plan.steps[plan.times.index(t)]
        expected, _ = usual.step(x0, t, x, generator=torch.Generator().manual_seed(0))
        stream = torch.Generator().manual_seed(0)
        z = torch.randn(x.shape, generator=stream, dtype=torch.float64)
        found = x * step.of_x + x0 * step.of_x0 + z * step.of_noise
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)  # it computes in float32


class Once:
    """An update that takes one step on a batch, as the loop's does."""

    def __init__(self, x0: Tensor, index: Tensor) -> None:
        self.x0, self.index = x0, index

    def __call__(self, optimizer: torch.optim.Optimizer, losses: Losses) -> dict[str, Tensor]:
        optimizer.zero_grad()
        found = losses(self.x0, self.index)
        found["loss"].backward()
        optimizer.step()
        return {name: value.detach() for name, value in found.items()}


def training(**about: object) -> SimpleNamespace:
    return SimpleNamespace(seed=0, learning_rate=1e-3, batch=2, **about)


@pytest.mark.parametrize("size", [16, 32])
def test_ha_gan_updates_each_network_by_its_own_loss(size: int) -> None:
    entry = SimpleNamespace(width=16, latent=64, discriminator_rate=1e-3, training=training())
    model = HAGAN(entry, size)
    model.optimizers()
    before = {n: p.clone() for n, p in model.network.named_parameters()}
    x0 = torch.rand(2, 1, size, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    told = model.step(Once(x0, torch.arange(2)))
    assert set(told) == {
        *("loss", "discriminator", "generator", "slab_encoder", "volume_encoder"),
    }
    assert all(value.isfinite() for value in told.values())
    changed = {
        n.split(".")[0] for n, p in model.network.named_parameters() if (p != before[n]).any()
    }
    assert changed == {"generator", "discriminator", "slab_encoder", "volume_encoder"}
    volumes = model.drawing(SimpleNamespace(precision="float32"))(torch.tensor([5, 3]), 0)
    assert volumes.shape == (2, 1, size, size, size)
    assert volumes.abs().max() <= 1
    again = model.drawing(SimpleNamespace(precision="float32"))(torch.tensor([3]), 0)
    torch.testing.assert_close(again[0], volumes[1])


def test_ha_gan_cuts_slabs_where_it_says() -> None:
    entry = SimpleNamespace(width=16, latent=64, discriminator_rate=1e-3, training=training())
    model = HAGAN(entry, 32)
    starts = model.slab_starts(torch.arange(400))
    assert (starts[::2] == starts[1::2]).all()  # one for a batch of two
    assert (int(starts.min()), int(starts.max())) == (0, 28)
    x = torch.arange(32.0).view(1, 1, 32, 1, 1).expand(1, 1, 32, 32, 32)
    slab = model.slabs(x, torch.tensor([9]))
    assert slab.shape == (1, 1, 4, 32, 32)
    assert slab[0, 0, :, 0, 0].tolist() == [9, 10, 11, 12]


def test_wdm_3d_learns_and_draws_by_address() -> None:
    entry = SimpleNamespace(base=16, multiples=[1, 2], timesteps=100, training=training())
    model = WDM3D(entry, 16)
    assert model.network(torch.randn(1, 8, 8, 8, 8), torch.tensor([3])).abs().max() == 0
    model.optimizers()
    x0 = torch.linspace(-1, 1, 16).view(1, 1, 16, 1, 1).expand(4, 1, 16, 16, 16)
    losses = [float(model.step(Once(x0, torch.arange(4) + 4 * i))["loss"]) for i in range(60)]
    assert sum(losses[-5:]) < 0.2 * sum(losses[:5])
    draw = model.drawing(SimpleNamespace(steps=10, precision="float32"))
    both = draw(torch.tensor([4, 7]), 0)
    torch.testing.assert_close(draw(torch.tensor([7]), 0)[0], both[1], atol=1e-5, rtol=0)
    assert both[0, 0, 15].mean() > both[0, 0, 0].mean() + 1
