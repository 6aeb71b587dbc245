"""MedicalNet's weights (Chen et al., 2019), fetched once, with the sha256 of what came."""

from __future__ import annotations

import shutil
import urllib.request
from pathlib import Path

from prdit.errors import UserError
from prdit.files import atomic, sha256

SOURCES = {
    "resnet_10.pth": "TencentMedicalNet/MedicalNet-Resnet10",
    "resnet_10_23dataset.pth": "TencentMedicalNet/MedicalNet-Resnet10",
    "resnet_50.pth": "TencentMedicalNet/MedicalNet-Resnet50",
    "resnet_50_23dataset.pth": "TencentMedicalNet/MedicalNet-Resnet50",
}
HUB = "https://huggingface.co/{repository}/resolve/main/{name}"


def run(*, weights: list[Path]) -> None:
    """Fetch the files that `weights` are named after; sha256 are printed, and every card has them.

    Raises:
        UserError: no such file is published, or it cannot be fetched.
    """
    for path in weights:
        fetch(path)


def fetch(weights: Path) -> None:
    """Fetch one file."""
    repository = SOURCES.get(weights.name)
    if repository is None:
        raise UserError(
            f"{weights} is missing, and MedicalNet publishes no {weights.name}; put the file there"
            f" or name one of {', '.join(SOURCES)} in evaluation.weights"
        )
    address = HUB.format(repository=repository, name=weights.name)
    with atomic(weights) as partial:
        try:
            with urllib.request.urlopen(address, timeout=60) as answer, partial.open("wb") as file:
                shutil.copyfileobj(answer, file)
        except OSError as error:
            raise UserError(
                f"cannot fetch {address} ({error}); bring it to {weights} by hand"
            ) from None
    print(f"{weights}: sha256 {sha256(weights)}")
