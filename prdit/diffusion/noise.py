"""Random numbers by address: functions of (seed, purpose, index), not of what came before.

Philox 4x32-10 (Salmon et al., SC 2011) in plain tensor operations: the same numbers on every
device, at every batch size and in every order.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF
_GOLDEN = (math.sqrt(5) - 1) / 2
"""Its multiples, modulo 1, fill [0, 1) evenly."""


def address(seed: int, purpose: str) -> int:
    """The 64-bit key of a seed and a purpose."""
    digest = hashlib.blake2b(f"{seed} {purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def generator(seed: int, purpose: str) -> torch.Generator:
    """A CPU generator that starts at (seed, purpose), for torch's own initialisers."""
    return torch.Generator().manual_seed(address(seed, purpose))


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Within it, torch's own random numbers on the CPU start at (seed, purpose)."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(address(seed, purpose))
        yield


Key = tuple[int, int] | Tensor
"""Low and high 32-bit word of an address: numbers, or int64 [2] on the device.

As a tensor it is an input of what a GPU compiles, which then serves every seed.
"""


def key(seed: int, purpose: str) -> tuple[int, int]:
    """The two words of the address of a seed and a purpose."""
    whole = address(seed, purpose)
    return whole & _WORD, whole >> 32


def key_on(device: torch.device, seed: int, purpose: str) -> Tensor:
    """The same as int64 [2] on a device; the CPU waits until it is there."""
    return torch.tensor(key(seed, purpose)).to(device)


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: Key) -> Tensor:
    """Ten rounds of Philox 4x32 on broadcast counters, int64 tensors holding 32-bit words.

    Returns:
        int64 [..., 4] of random 32-bit words.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # A product may wrap around in int64; the bits that are kept are right nevertheless. Of c1
        # and c3, what lies above 32 bits is cut off with the words that they go into.
        left, right = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1 = (right >> 32) ^ c1, right
        c2, c3 = (left >> 32) ^ c3, left
        c0.bitwise_xor_(k0).bitwise_and_(_WORD)
        c2.bitwise_xor_(k1).bitwise_and_(_WORD)
        k0, k1 = (k0 + 0x9E3779B9) & _WORD, (k1 + 0xBB67AE85) & _WORD
    return torch.stack(torch.broadcast_tensors(c0, c1, c2, c3), dim=-1).bitwise_and_(_WORD)


def _words(key: Key, index: Tensor, count: int, step: int | Tensor) -> Tensor:
    """`count` random words for each entry of index [B], at a step or a step [B] each."""
    # Masked, it is data to a compiler; as an index, its product with Philox's constants would be
    # computed in int32 on a GPU.
    block = torch.arange(math.ceil(count / 4), device=index.device) & _WORD
    sample = index.to(torch.int64).unsqueeze(1)
    at = step.unsqueeze(1) if isinstance(step, Tensor) else torch.full_like(sample, step)
    counter = (block.unsqueeze(0), at, sample & _WORD, sample >> 32)
    return philox(counter, key).flatten(1)[:, :count]


def uniform(seed: int, purpose: str, index: Tensor, *, step: int = 0) -> Tensor:
    """One float64 in [0, 1) for each entry of index [B]."""
    return uniform_at(key(seed, purpose), index, step)


def uniform_at(key: Key, index: Tensor, step: int = 0) -> Tensor:
    """`uniform` of a key: tensor operations alone, which a GPU compiles into a few kernels."""
    return _words(key, index, 1, step)[:, 0].double() / 2**32


def spread(index: Tensor) -> Tensor:
    """float64 in [0, 1), spread evenly however many there are: one for each entry of index [B]."""
    return (index.double() * _GOLDEN + 0.5) % 1


def normal(
    seed: int, purpose: str, index: Tensor, shape: tuple[int, ...], *, step: int | Tensor = 0
) -> Tensor:
    """Standard normal float32 [B, *shape], one draw of `shape` for each entry of index [B].

    Args:
        step: of all entries, or int64 [B].
    """
    return normal_at(key(seed, purpose), index, shape, step)


def normal_at(key: Key, index: Tensor, shape: tuple[int, ...], step: int | Tensor = 0) -> Tensor:
    """`normal` of a key: tensor operations alone, too."""
    count = math.prod(shape)
    half = math.ceil(count / 2)
    u = _words(key, index, 2 * half, step).double().add_(0.5).mul_(2**-32)
    radius = u[:, :half].float().log_().mul_(-2).sqrt_()
    angle = u[:, half:].mul_(2 * math.pi).float()
    pair = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
    return pair[:, :count].reshape(len(index), *shape)


def permutation(seed: int, purpose: str, index: int, n: int) -> Tensor:
    """A random order of 0..n-1, the one at address `index`: int64 [n]."""
    draws = uniform(seed, purpose, torch.arange(n), step=index)
    return torch.argsort(draws, stable=True)
