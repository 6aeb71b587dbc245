"""Weights of the released code under this package's names, and the architecture they tell."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import Tensor

from prdit.errors import UserError

_PARTS = {
    "t_embedder.mlp.0": "time.trunk",
    "t_embedder.coarse_head": "time.to_local",
    "t_embedder.fine_head": "time.to_global",
    "coarse.mlp_denoise.adaLN_modulation.1": "local.modulation",
    "coarse.mlp_denoise.mlp1.fc1_g": "local.first.gate",
    "coarse.mlp_denoise.mlp1.fc1_x": "local.first.value",
    "coarse.mlp_denoise.mlp1.norm": "local.first.norm",
    "coarse.mlp_denoise.mlp1.fc2": "local.first.out",
    "coarse.mlp_denoise.mlp2.fc1_g": "local.second.gate",
    "coarse.mlp_denoise.mlp2.fc1_x": "local.second.value",
    "coarse.mlp_denoise.mlp2.norm": "local.second.norm",
    "coarse.mlp_denoise.mlp2.fc2": "local.second.out",
    "coarse.mlp_denoise.linear_final": "local.head",
    "fine.patch_embedder.fc1": "residual.embedding.hidden",
    "fine.patch_embedder.fc2": "residual.embedding.out",
    "fine.patch_embedder.skip": "residual.embedding.skip",
    "fine.patch_embedder.norm": "residual.embedding.norm",
    "fine.blocks.*.attn.qkv": "residual.blocks.*.attention.qkv",
    "fine.blocks.*.attn.proj": "residual.blocks.*.attention.out",
    "fine.blocks.*.mlp.fc1": "residual.blocks.*.hidden",
    "fine.blocks.*.mlp.fc2": "residual.blocks.*.out",
    "fine.blocks.*.adaLN_modulation.1": "residual.blocks.*.modulation",
    "fine.final_layer.adaLN_modulation.1": "residual.modulation",
    "fine.final_layer.linear": "residual.head",
}
"""Layer of the released code -> ours; * is the number of a block."""

_BLOCK = re.compile(r"(?<=^fine\.blocks\.)\d+(?=\.)")
_POSITION_CODE = re.compile(r"fine\.\w*pos\w*")
"""A fixed buffer, computed anew here."""


@dataclass(frozen=True)
class Architecture:
    """What the shapes of the weights tell; the number of heads is not among it."""

    patch: int
    stride: int
    width: int
    depth: int


def from_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under our names; `module.` in front and position codes are dropped.

    Raises:
        UserError: names that the released code does not have, all of them.
    """
    if not all(isinstance(name, str) for name in state):
        raise UserError("these are no weights of the released PRDiT: their names are no text")
    bare = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    ours = {n: (_ours(n), t) for n, t in bare.items() if not _POSITION_CODE.fullmatch(n)}
    unknown = sorted(name for name, (known, _) in ours.items() if known is None)
    if unknown:
        raise UserError(
            f"these are no weights of the released PRDiT; unknown names: {', '.join(unknown)}"
        )
    return {name: tensor for name, tensor in ours.values() if name is not None}


def _ours(name: str) -> str | None:
    layer, _, kind = name.rpartition(".")
    block = _BLOCK.search(layer)
    part = _PARTS.get(_BLOCK.sub("*", layer))
    if part is None or kind not in ("weight", "bias"):
        return None
    return f"{part.replace('*', block.group()) if block else part}.{kind}"


def infer(state: dict[str, Tensor]) -> Architecture:
    """The architecture of weights under our names, for volumes of one channel.

    Raises:
        UserError: a tensor that tells it is missing, or its length belongs to no cubic patch.
    """
    blocks = {int(n.split(".")[2]) for n in state if n.startswith("residual.blocks.")}
    return Architecture(
        patch=_edge(state, "time.to_local.bias", 1),
        stride=_edge(state, "local.head.bias", 2),
        width=_length(state, "time.trunk.bias"),
        depth=max(blocks, default=-1) + 1,
    )


def _length(state: dict[str, Tensor], name: str) -> int:
    if name not in state or state[name].ndim != 1:
        raise UserError(f"the weights hold no vector {name}, so they are no whole PRDiT")
    return len(state[name])


def _edge(state: dict[str, Tensor], name: str, channels: int) -> int:
    length = _length(state, name)
    edge = round((length / channels) ** (1 / 3))
    if edge < 1 or channels * edge**3 != length:
        raise UserError(f"{name} has {length} values, which fit no cubic patch of one channel")
    return edge
