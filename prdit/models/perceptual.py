"""How unlike two images look: LPIPS (Zhang et al., 2018) on VGG16 (Simonyan and Zisserman, 2015).

Both are published with free licences (BSD), as are their weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prdit.errors import UserError
from prdit.published_weights import LPIPS, VGG

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
MEAN, STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of images in [-1, 1], as LPIPS normalises them."""


class Perceptual(nn.Module):
    """(images [B, 1, H, W], others) in [-1, 1] -> how unlike they look [B]."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.ends: list[int] = []
        channels = 3
        for widths in WIDTHS:
            layers += [nn.MaxPool2d(2)] if layers else []
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            self.ends.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)
        self.weighting = nn.ModuleList(nn.Conv2d(w[-1], 1, 1, bias=False) for w in WIDTHS)
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None])
        self.requires_grad_(False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        unlike = x.new_zeros(len(x))
        a, b = ((image.expand(-1, 3, -1, -1) - self.mean) / self.std for image in (x, y))
        for number, layer in enumerate(self.features):
            a, b = layer(a), layer(b)
            if number in self.ends:
                weigh = self.weighting[self.ends.index(number)]
                unlike = unlike + weigh((unit(a) - unit(b)).square()).mean((1, 2, 3))
        return unlike


def unit(x: Tensor) -> Tensor:
    """[B, C, H, W] with each place's channels to length 1."""
    return x / (x.square().sum(1, keepdim=True) + 1e-20).sqrt()  # whose gradient at 0 is finite


def load(folder: Path) -> Perceptual:
    """LPIPS with the published weights in a folder.

    Raises:
        UserError: a file is missing, or does not fit.
    """
    network = Perceptual()
    trunk = {f"features.{k}": v for k, v in read(folder / VGG, "features.").items()}
    weighting = read(folder / LPIPS, "lin")
    state = {name: value for name, value in network.state_dict().items() if name in ("mean", "std")}
    state |= trunk
    state |= {f"weighting.{k[0]}.weight": value for k, value in weighting.items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        told = " ".join(str(error).split())
        raise UserError(f"the weights in {folder} do not fit: {told}; fetch them anew") from None
    return network.eval()


def read(path: Path, prefix: str) -> dict[str, Any]:
    """What a file of weights holds below a prefix, which is cut off; nothing in it is run."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        return {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}
    except Exception as error:  # noqa: BLE001  # whatever a file that is no checkpoint provokes
        told = " ".join(str(error).split())
        raise UserError(f"cannot read the weights {path}: {told}; fetch them anew") from None
