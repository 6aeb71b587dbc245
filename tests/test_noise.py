"""Random numbers are functions of their address: known answers, independence, distribution."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from prdit.diffusion.noise import normal, permutation, philox, uniform

# The known-answer vectors that Random123 publishes for philox4x32-10.
KNOWN = [
    ((0,) * 4, (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_published_answers(
    counter: tuple[int, ...], key: tuple[int, int], answer: tuple[int, ...]
) -> None:
    c0, c1, c2, c3 = (torch.tensor(word) for word in counter)
    assert tuple(philox((c0, c1, c2, c3), key).tolist()) == answer


@given(
    indices=st.lists(st.integers(0, 2**40), min_size=1, max_size=5),
    seed=st.integers(0, 2**31),
    step=st.integers(0, 999),
    shape=st.sampled_from([(3,), (1, 4, 4, 4), (7, 1)]),
)
@settings(max_examples=30, deadline=None)
def test_a_number_does_not_depend_on_its_batch(
    indices: list[int], seed: int, step: int, shape: tuple[int, ...]
) -> None:
    together = normal(seed, "x", torch.tensor(indices), shape, step=step)
    for row, index in zip(together, indices, strict=True):
        assert torch.equal(row, normal(seed, "x", torch.tensor([index]), shape, step=step)[0])


def test_each_part_of_the_address_matters() -> None:
    one = torch.tensor([5])
    draws = [
        normal(0, "a", one, (8,)),
        normal(1, "a", one, (8,)),
        normal(0, "b", one, (8,)),
        normal(0, "a", one + 1, (8,)),
        normal(0, "a", one + 2**32, (8,)),
        normal(0, "a", one, (8,), step=1),
    ]
    assert len({tuple(d.flatten().tolist()) for d in draws}) == len(draws)


def test_the_distributions() -> None:
    z = normal(3, "x", torch.arange(4), (1, 32, 32, 32)).flatten().numpy()
    assert stats.kstest(z, "norm").pvalue > 1e-3
    halves = z.reshape(2, -1)
    assert abs(stats.pearsonr(halves[0], halves[1]).statistic) < 0.015
    u = uniform(3, "x", torch.arange(50_000)).numpy()
    assert stats.kstest(u, "uniform").pvalue > 1e-3


def test_a_permutation_has_each_number_once() -> None:
    first, second = (permutation(0, "order", epoch, 100) for epoch in (0, 1))
    assert sorted(first.tolist()) == list(range(100)) == sorted(second.tolist())
    assert first.tolist() != second.tolist()
