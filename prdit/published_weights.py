"""Weights of networks that measure likeness, as published; fetched once, with their sha256."""

from __future__ import annotations

import shutil
import urllib.request
from pathlib import Path

from prdit.errors import UserError
from prdit.files import atomic, sha256

VGG, LPIPS = "vgg16-397923af.pth", "lpips_vgg.pth"
HUB = "https://huggingface.co/TencentMedicalNet"
SOURCES = {
    "resnet_10.pth": f"{HUB}/MedicalNet-Resnet10/resolve/main/resnet_10.pth",
    "resnet_10_23dataset.pth": f"{HUB}/MedicalNet-Resnet10/resolve/main/resnet_10_23dataset.pth",
    "resnet_50.pth": f"{HUB}/MedicalNet-Resnet50/resolve/main/resnet_50.pth",
    "resnet_50_23dataset.pth": f"{HUB}/MedicalNet-Resnet50/resolve/main/resnet_50_23dataset.pth",
    VGG: "https://download.pytorch.org/models/vgg16-397923af.pth",
    LPIPS: "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips"
    "/weights/v0.1/vgg.pth",
}
"""MedicalNet (Chen et al., 2019), VGG16 (Simonyan and Zisserman, 2015), LPIPS (Zhang et al., 2018).

By the name of the file.
"""


def run(*, weights: list[Path]) -> None:
    """Fetch the files that `weights` are named after; sha256 are printed, and every card has them.

    Raises:
        UserError: no such file is published, or it cannot be fetched.
    """
    for path in weights:
        fetch(path)


def fetch(weights: Path) -> None:
    """Fetch one file."""
    address = SOURCES.get(weights.name)
    if address is None:
        raise UserError(
            f"{weights} is missing, and nobody publishes a {weights.name} that is known here; put"
            f" the file there or name one of {', '.join(SOURCES)}"
        )
    with atomic(weights) as partial:
        try:
            with urllib.request.urlopen(address, timeout=60) as answer, partial.open("wb") as file:
                shutil.copyfileobj(answer, file)
        except OSError as error:
            raise UserError(
                f"cannot fetch {address} ({error}); bring it to {weights} by hand"
            ) from None
    print(f"{weights}: sha256 {sha256(weights)}")
