"""A trained generator as one safetensors file that says how to rebuild it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from prdit.config import PRDiT
from prdit.errors import UserError
from prdit.files import atomic
from prdit.generators.base import Generator, build


def save(path: Path, state: dict[str, Tensor], entry: PRDiT, about: dict[str, Any]) -> None:
    """Write weights with the config entry that rebuilds their generator.

    Args:
        about: of the volumes it makes: size, window, spacing_mm.
    """
    about = {**about, "entry": entry.model_dump(mode="json")}
    tensors = {name: tensor.contiguous().cpu() for name, tensor in state.items()}
    with atomic(path) as partial:
        save_file(tensors, partial, metadata={"prdit": json.dumps(about, sort_keys=True)})


def load(path: Path, device: str = "cpu") -> tuple[Generator, dict[str, Any]]:
    """The generator of a weights file, and what the file says of it: size, window, spacing.

    Raises:
        UserError: not a weights file of this package, or its tensors do not fit.
    """
    try:
        with safe_open(path, framework="pt", device=device) as file:
            about = json.loads((file.metadata() or {})["prdit"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{path} is no weights file of prdit ({error}); train it again") from None
    generator = build(PRDiT.model_validate(about.pop("entry")), about["size"])
    fit(generator, state, path)
    generator.network.to(device).eval()
    return generator, about


def fit(generator: Generator, state: dict[str, Tensor], path: Path) -> None:
    """Put tensors into a network, or raise UserError naming every one missing or surplus."""
    wanted = generator.network.state_dict()
    missing, surplus = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    if missing or surplus:
        raise UserError(f"{path} does not fit its model: missing {missing}, surplus {surplus}")
    generator.network.load_state_dict(state)
