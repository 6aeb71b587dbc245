"""Features of volumes by a 3D ResNet in MedicalNet's geometry (Chen et al., 2019)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from monai.networks.nets import resnet
from torch import Tensor, nn

from prdit.diffusion.noise import generator
from prdit.errors import UserError


def resnet_3d(name: str) -> nn.Module:
    """A 3D ResNet whose third and fourth layers dilate (2, 4) instead of striding.

    MONAI's default would load MedicalNet's weights and compute something else.

    Args:
        name: resnet10 (512 features) or resnet50 (2048).
    """
    network: nn.Module = getattr(resnet, name)(
        pretrained=False,
        spatial_dims=3,
        n_input_channels=1,
        feed_forward=False,
        shortcut_type="B",
        bias_downsample=False,
        conv1_t_stride=2,
    )
    for part, dilation in (("layer3", 2), ("layer4", 4)):
        layer = network.get_submodule(part)
        for conv in (m for m in layer.modules() if isinstance(m, nn.Conv3d)):
            conv.stride = (1, 1, 1)
            if conv.kernel_size == (3, 3, 3):
                conv.dilation = conv.padding = (dilation,) * 3
    return network.eval()


@torch.no_grad()
def randomise(network: nn.Module, seed: int) -> None:
    """Kaiming-normal convolutions, each a function of (seed, its name)."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv3d):
            random = generator(seed, f"feature network {name}")
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=random)


def load_medicalnet(network: nn.Module, path: Path) -> None:
    """Load MedicalNet weights, every key or none. Raises UserError if the file does not fit."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  # whatever a file that is no checkpoint provokes
        raise UserError(f"cannot read the feature weights {path}: {error}") from None
    state = {k.removeprefix("module."): v for k, v in found.get("state_dict", found).items()}
    wanted = network.state_dict()
    wrong = sorted(set(wanted) ^ set(state))
    if wrong:
        raise UserError(
            f"the feature weights {path} do not fit the network: {len(wrong)} keys differ, e.g."
            f" {wrong[0]}; set evaluation.network to the network they were made for"
        )
    network.load_state_dict(state)


def extract(network: nn.Module, volumes: Iterable[np.ndarray], batch: int) -> Iterator[np.ndarray]:
    """Features [d] of each volume [S, S, S] in [-1, 1]; memory does not grow with their number.

    They are taken on the network's device, in float32 (on a GPU without TF32: FID adds up what
    rounding leaves).

    Raises:
        UserError: a volume is not finite or leaves [-1, 1].
    """
    checked = map(_checked, volumes)
    device = next(network.parameters()).device
    while group := list(islice(checked, batch)):
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            found = pooled(network, torch.stack(group).to(device)).cpu().numpy()
        yield from found


def pooled(network: nn.Module, x: Tensor) -> Tensor:
    """[B, 1, S, S, S] -> [B, d]: the last layer's activations averaged over space."""
    features: Tensor = network(x)
    return features.flatten(1)


def _checked(x: np.ndarray) -> Tensor:
    if not (np.isfinite(x).all() and x.min() >= -1 and x.max() <= 1):
        raise UserError(
            "a volume to take features of is not finite or leaves [-1, 1]; make it again"
        )
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).unsqueeze(0)
