"""Vectors recorded from the released code: reading a file, its weights, comparing with it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

_NOTES = re.compile(r"(.*[/_])?(seed|\w*version|f32_vs_f64_max_abs)")
"""Keys that tell of the recording and claim nothing of a result."""


class Recorded:
    """One .npz file. Every key must be used before `finish`, or it would pass unseen."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as file:
            self._arrays = {key: file[key] for key in file.files}
        self._used: set[str] = set()
        self.wrong: list[str] = []
        """What did not hold so far."""
        self._worst: dict[str, float] = {}
        self.name = path.name

    def __contains__(self, key: str) -> bool:
        return key in self._arrays

    def array(self, key: str) -> np.ndarray:
        assert key in self, f"{self.name} has no key {key}"
        self._used.add(key)
        return self._arrays[key]

    def tensor(self, key: str) -> Tensor:
        return torch.from_numpy(self.array(key))

    def number(self, key: str, default: float | None = None) -> float:
        if key not in self and default is not None:
            return default
        return float(self.array(key))

    def whole(self, key: str) -> int:
        return int(self.array(key))

    def matches(self, pattern: str) -> Iterator[re.Match[str]]:
        """Keys that a pattern fits as a whole, in the file's order."""
        return filter(None, (re.fullmatch(pattern, key) for key in list(self._arrays)))

    def state(self, prefix: str) -> dict[str, Tensor]:
        """The tensors `<prefix><name>` by name."""
        found = [m[1] for m in self.matches(re.escape(prefix) + "(.+)")]
        return {name: self.tensor(prefix + name) for name in found}

    def check(self, holds: bool, claim: str) -> None:
        """Note a claim that does not hold; `finish` tells all of them."""
        if not holds:
            self.wrong.append(claim)

    def compare(
        self, key: str, mine: Tensor | np.ndarray | float, *, atol: float, rtol: float = 0.0
    ) -> None:
        """|mine - recorded| <= atol + rtol |recorded|, in float64."""
        self.compare_with(key, self.array(key), mine, atol=atol, rtol=rtol)

    def compare_with(
        self,
        what: str,
        recorded: np.ndarray | Tensor,
        mine: Tensor | np.ndarray | float,
        *,
        atol: float,
        rtol: float = 0.0,
    ) -> None:
        mine, theirs = _float64(mine), _float64(recorded)
        if mine.shape != theirs.shape:
            self.wrong.append(f"{what}: shape {mine.shape}, recorded {theirs.shape}")
            return
        off = np.abs(mine - theirs)
        worst = float(off.max(initial=0.0))
        self._worst[what] = max(worst, self._worst.get(what, 0.0))
        within = off <= atol + rtol * np.abs(theirs)
        if not within.all():  # not (a > b): NaN must fail
            self.wrong.append(
                f"{what}: {(~within).sum()} of {within.size} values are off;"
                f" max deviation {worst:.3g} (allowed {atol:g} + {rtol:g} relative)"
            )

    def finish(self) -> None:
        """Fail with everything that was off, and with every key that nothing looked at."""
        unseen = [k for k in self._arrays if k not in self._used and not _NOTES.fullmatch(k)]
        wrong = list(self.wrong)
        if unseen:
            wrong.append(f"keys that this test does not know: {', '.join(unseen)}")
        if not self._worst:
            wrong.append("nothing in it was compared")
        for what, worst in sorted(self._worst.items(), key=lambda item: -item[1])[:8]:
            print(f"{self.name}: {what}: max deviation {worst:.2e}")
        assert not wrong, "\n".join([self.name, *wrong])


def _float64(x: Tensor | np.ndarray | float) -> np.ndarray:
    if isinstance(x, Tensor):
        x = x.detach().double().numpy()
    return np.asarray(x, dtype=np.float64)


def draw(seed: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """n of the recipe: standard normal float64, a function of (seed, name)."""
    address = (seed * 1000003 + zlib.crc32(name.encode())) % 2**32
    # The recipe is written for this generator, which NumPy keeps as it is.
    return np.random.RandomState(address).standard_normal(shape)


def model_recipe(seed: int, name: str, shape: tuple[int, ...]) -> Tensor:
    """A weight of the released PRDiT that was not stored."""
    n = draw(seed, name, shape)
    if name.endswith("bias"):
        n *= 0.1
    elif len(shape) == 1:
        n = 1 + 0.1 * n
    else:
        gain = 0.5 if "adaLN_modulation" in name else 1.0
        n *= gain / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(n.astype(np.float32))


def resnet_recipe(seed: int, name: str, shape: tuple[int, ...]) -> Tensor:
    """A weight or running statistic of the feature network."""
    n = draw(seed, name, shape)
    if name.endswith("running_var"):
        n = 1 + 0.2 * np.abs(n)
    elif name.endswith(("running_mean", "bias")):
        n *= 0.1
    elif len(shape) == 1:
        n = 1 + 0.1 * n
    else:
        n *= np.sqrt(2 / np.prod(shape[1:]))
    return torch.from_numpy(n.astype(np.float32))


def weights(file: Recorded) -> dict[str, Tensor]:
    """The weights of a model file under the released names: stored, or made by the recipe."""
    stored = file.state("w/")
    if "param_names" not in file:
        return stored
    names = file.array("param_names").tolist()
    shapes = [tuple(int(n) for n in re.findall(r"\d+", s)) for s in file.array("param_shapes")]
    seed = file.whole("seed")
    made = {n: model_recipe(seed, n, s) for n, s in zip(names, shapes, strict=True)}
    first = [[float(made[n].flatten()[i % made[n].numel()]) for i in range(4)] for n in names]
    file.compare("param_first4", np.array(first), atol=0)
    totals(file, "param_sum", [made[n] for n in names])
    totals(file, "param_sumsq", [made[n].double() ** 2 for n in names])
    return made | stored


def totals(file: Recorded, key: str, tensors: list[Tensor]) -> None:
    """Sums in float64: equal but for the order of adding."""
    file.compare(key, np.array([float(t.double().sum()) for t in tensors]), atol=1e-6, rtol=1e-10)
