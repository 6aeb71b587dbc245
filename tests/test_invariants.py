"""What must hold whatever the shapes, depths and settings: of stages, noise, samplers, configs."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stepping import step
from torch import Tensor, nn
from walking import predictor_corrector, sampler

from prdit.config import PRDiT as Entry
from prdit.config import PRDiTRefined, Sampler, Training
from prdit.config.file import load
from prdit.diffusion.process import Process
from prdit.diffusion.samplers import BY_NAME, released_schedule, schedule
from prdit.errors import UserError
from prdit.generators import weights
from prdit.generators.base import Generator
from prdit.generators.prdit import PRDiTGenerator
from prdit.generators.prdit_refined import RefinedGenerator
from prdit.models.embeddings import FREQUENCIES
from prdit.models.prdit import PRDiT
from prdit.models.refinement import nearest_down, nearest_up, trilinear_up
from prdit.recipes import TrainRecipe

TRAINING = Training(volumes=8, batch=2, learning_rate=1e-3)
SEEDS = st.integers(0, 2**32 - 1)
WIDTHS = st.sampled_from([(6, 1), (12, 2), (18, 3), (24, 4)])
"""(width, heads)"""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def examples(count: int) -> settings:
    return settings(max_examples=count, derandomize=True, database=None, deadline=None)


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def randomise(network: nn.Module, seed: int, std: float = 0.2) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data.normal_(std=std, generator=generator)


def same(mine: Sequence[Tensor], its: Sequence[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(mine, its, strict=True))


def entry(depth: int, *, width: int = 12, heads: int = 2, **about: Any) -> Entry:
    start = "stage-1" if depth and about.get("local", True) else None
    settings = {"patch": 4, "stride": 2, "start_from": start, "training": TRAINING, **about}
    return Entry(depth=depth, width=width, heads=heads, **settings)


def refined_entry(**about: Any) -> PRDiTRefined:
    settings = {"width": 8, "patch": 6, "stride": 4, "training": TRAINING, **about}
    return PRDiTRefined(generator="prdit_refined", start_from="base", **settings)


def trained(depth: int, size: int, seed: int, **about: Any) -> PRDiTGenerator:
    """A generator as if trained: every weight random, none frozen."""
    generator = PRDiTGenerator(entry(depth, **about), size)
    randomise(generator.network, seed)
    return generator


def stage_2(depth: int, size: int, seed: int, **about: Any) -> PRDiTGenerator:
    """Fresh, on a stage 1 as if trained."""
    generator = PRDiTGenerator(entry(depth, **about), size)
    generator.start_from(trained(0, size, seed, **about))
    return generator


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def changed(before: dict[str, Tensor], network: nn.Module) -> set[str]:
    return {n for n, value in network.state_dict().items() if not torch.equal(value, before[n])}


def train(generator: Generator, size: int, seed: int, steps: int) -> None:
    generator.optimizers()
    for number, index in enumerate(torch.arange(2 * steps).split(2)):
        x0 = random(seed + number, 2, 1, size, size, size)
        losses = step(generator, x0, index, TRAINING)
        assert all(value.isfinite() for value in losses.values())


# --- Stages -------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 10**6),
    grid=st.integers(1, 3),
    stride=st.integers(1, 3),
    margin=st.integers(0, 1),
    depth=st.integers(1, 4),
    width=WIDTHS,
    times=st.lists(st.integers(0, 1000), min_size=1, max_size=3),
)
@examples(40)
def test_a_fresh_stage_2_is_its_stage_1_bit_for_bit(
    seed: int,
    grid: int,
    stride: int,
    margin: int,
    depth: int,
    width: tuple[int, int],
    times: list[int],
) -> None:
    size = grid * stride
    about = {"width": width[0], "heads": width[1], "stride": stride}
    about["patch"] = stride + 2 * min(margin, size - 1)
    second = stage_2(depth, size, seed, **about)
    first = trained(0, size, seed, **about)
    x, t = random(seed, len(times), 1, size, size, size), torch.tensor(times)
    estimate = first.network(x, t)
    assert same(second.network(x, t), estimate)
    assert all(part.abs().max() > 0 for part in estimate)


@given(seed=st.integers(0, 10**6), depth=st.integers(1, 3), stride=st.integers(1, 2), width=WIDTHS)
@examples(10)
def test_training_stage_2_leaves_the_local_path_alone(
    seed: int, depth: int, stride: int, width: tuple[int, int]
) -> None:
    size = 2 * stride
    about = {"width": width[0], "heads": width[1], "stride": stride, "patch": stride + 2}
    second = stage_2(depth, size, seed, **about)
    network, before = second.network, state(second.network)
    x, t = random(seed, 1, 1, size, size, size), torch.tensor([5])
    local = network.parts(x, network.modulations(t))[0]
    assert not local.requires_grad
    train(second, size, seed, steps=5)
    frozen = set(network.local_parameters())
    assert changed(before, network) == set(before) - frozen
    assert all(network.get_parameter(name).grad is None for name in frozen)
    assert torch.equal(network.parts(x, network.modulations(t))[0], local)


@given(seed=st.integers(0, 10**6), depth=st.integers(0, 3), local=st.booleans(), width=WIDTHS)
@examples(10)
def test_what_starts_at_zero(seed: int, depth: int, local: bool, width: tuple[int, int]) -> None:
    """All modulations and heads (Tables 9 and 10), all biases, and no other weight."""
    local = local or depth == 0
    training = TRAINING.model_copy(update={"seed": seed})
    mine = entry(depth, local=local, width=width[0], heads=width[1], training=training)
    for name, value in PRDiTGenerator(mine, 4).network.named_parameters():
        zero = name.endswith(("modulation.weight", "head.weight", ".bias"))
        assert bool(value.any()) == (not zero), name


@given(seed=SEEDS, depth=st.integers(0, 3), local=st.booleans(), margin=st.integers(0, 1))
@examples(20)
def test_parts_sum_to_the_estimate(seed: int, depth: int, local: bool, margin: int) -> None:
    local = local or depth == 0
    generator = trained(depth, 4, seed, patch=2 + 2 * margin, local=local)
    x, t = random(seed, 2, 1, 4, 4, 4), torch.tensor([1, 1000])
    parts = generator.network.parts(x, generator.network.modulations(t))
    assert len(parts) == local + (depth > 0)
    whole = generator.network(x, t)
    assert same(whole, generator.network.volumes(sum(parts[1:], parts[0])))
    branches = [generator.network.volumes(tokens) for tokens in parts]
    summed = [sum(volumes[1:], volumes[0]) for volumes in zip(*branches, strict=True)]
    assert same(whole, summed)


# --- Ablations ----------------------------------------------------------------------------------


def linear(inputs: int, outputs: int) -> int:
    return (inputs + 1) * outputs


def local_count(d: int, out: int, width: int) -> int:
    """Parameters of the Local Denoiser and its part of the time embedding (A.5)."""
    swiglu = 3 * linear(d, d) + 2 * d
    return linear(width, d) + linear(d, 6 * d) + 2 * swiglu + linear(d, out)


def dit_count(d: int, out: int, width: int, depth: int) -> int:
    """Parameters of the Global Residual DiT and its part of the time embedding."""
    embedding = linear(d, 4 * width) + linear(4 * width, width) + d * width + 2 * width
    attention = linear(width, 3 * width) + linear(width, width)
    mlp = linear(width, 4 * width) + linear(4 * width, width)
    block = linear(width, 6 * width) + attention + mlp
    head = linear(width, 2 * width) + linear(width, out)
    return linear(width, width) + embedding + depth * block + head


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@given(
    depth=st.integers(0, 3),
    local=st.booleans(),
    stride=st.integers(1, 4),
    margin=st.integers(0, 2),
    width=WIDTHS,
)
@examples(30)
def test_parameters_are_those_of_the_parts(
    depth: int, local: bool, stride: int, margin: int, width: tuple[int, int]
) -> None:
    local = local or depth == 0
    patch, (h, heads) = stride + 2 * margin, width
    shape = {"patch": patch, "stride": stride, "width": h, "heads": heads}
    with torch.device("meta"):
        network = PRDiT(2 * stride, **shape, depth=depth, local=local)
    d, out = patch**3, 2 * stride**3
    expected = linear(FREQUENCIES, h)
    expected += local_count(d, out, h) if local else 0
    expected += dit_count(d, out, h, depth) if depth else 0
    assert count(network) == expected


@pytest.mark.parametrize(
    ("about", "parameters"),
    [
        # The published 93,228,992 less the Local Denoiser and its time projection.
        ({"patch": 12, "local": False}, 93_228_992 - 39_156_160 + 256 * 768 + 768),
        # By hand, with d = 8^3 in place of 12^3: 197376 + 4072960 + 49403392.
        ({"patch": 8}, 53_673_728),
    ],
    ids=["DiT only", "no overlap"],
)
def test_parameters_of_the_ablations_at_the_papers_size(
    about: dict[str, Any], parameters: int
) -> None:
    with torch.device("meta"):
        network = PRDiT(128, stride=8, width=768, heads=12, depth=4, **about)
    assert count(network) == parameters


@pytest.mark.parametrize(
    ("depth", "about"),
    [
        (2, {"local": False}),
        (0, {"patch": 2}),
        (2, {"patch": 2}),
        (1, {"local": False, "patch": 2}),
    ],
    ids=["DiT only", "no overlap, stage 1", "no overlap", "DiT only, no overlap"],
)
def test_ablations_train_and_sample(depth: int, about: dict[str, Any]) -> None:
    if depth and about.get("local", True):
        generator = stage_2(depth, 4, 0, **about)
    else:
        generator = PRDiTGenerator(entry(depth, **about), 4)
    network = generator.network
    before, trainable = (
        state(network),
        {n for n, p in network.named_parameters() if p.requires_grad},
    )
    assert (network.local is None) == (not about.get("local", True))
    train(generator, 4, seed=0, steps=6)
    assert changed(before, network) == trainable
    x = generator.drawing(Sampler(steps=4))(torch.arange(3), 0)
    assert x.shape == (3, 1, 4, 4, 4)
    assert x.isfinite().all()


@given(seed=SEEDS, local=st.booleans())
@examples(5)
def test_without_overlap_a_local_denoiser_sees_its_block_alone(seed: int, local: bool) -> None:
    """Stage 1 at patch == stride: a block's estimate depends on no voxel of another block."""
    depth = 0 if local else 1
    network = trained(depth, 4, seed, patch=2, local=local).network
    x, t = random(seed, 1, 1, 4, 4, 4), torch.tensor([7])
    other = x.clone()
    other[..., 2:] += 1
    for mine, its in zip(network(x, t), network(other, t), strict=True):
        assert torch.equal(mine[..., :2], its[..., :2]) == local
        assert not torch.equal(mine[..., 2:], its[..., 2:])


# --- Refinement ---------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 10**6),
    depth=st.integers(0, 2),
    stride=st.sampled_from([1, 2, 4]),
    margin=st.integers(0, 1),
    refiner_input=st.sampled_from(["noisy", "noisy_and_estimates"]),
    t=st.integers(0, 1000),
)
@examples(25)
def test_a_fresh_refinement_is_its_base_upsampled(
    seed: int, depth: int, stride: int, margin: int, refiner_input: str, t: int
) -> None:
    base = trained(depth, 4, seed)
    settings = {"stride": stride, "patch": stride + 2 * margin, "refiner_input": refiner_input}
    generator = RefinedGenerator(refined_entry(**settings), 8, entry(depth))
    generator.start_from(base)
    x, times = random(seed, 2, 1, 8, 8, 8), torch.tensor([t, 1])
    eps, x0 = base.network(nearest_down(x), times)
    high, low = generator.network.refined(x, generator.network.modulations(times))
    assert same(low, (eps, x0))
    assert same(high, (nearest_up(eps), trilinear_up(x0)))
    assert same(generator.network(x, times), high)


@given(
    seed=st.integers(0, 10**6),
    depth=st.integers(0, 2),
    train_base=st.booleans(),
    refiner_input=st.sampled_from(["noisy", "noisy_and_estimates"]),
)
@examples(12)
def test_training_a_refinement_changes_its_base_only_if_asked_to(
    seed: int, depth: int, train_base: bool, refiner_input: str
) -> None:
    base = stage_2(depth, 4, seed) if depth else trained(0, 4, seed)
    if depth:
        randomise(base.network, seed)  # its residual too is as if trained
    mine = refined_entry(train_base=train_base, refiner_input=refiner_input)
    generator = RefinedGenerator(mine, 8, entry(depth))
    generator.start_from(base)
    network, before = generator.network, state(generator.network)
    kept = {n for n in before if n.startswith("base.")}
    assert kept == {f"base.{n}" for n in base.network.state_dict()}
    train(generator, 8, seed, steps=6)
    assert changed(before, network) == set(before) - (set() if train_base else kept)
    if not train_base:
        assert all(p.grad is None for p in network.base.parameters())
        assert same(
            list(network.base.state_dict().values()), list(base.network.state_dict().values())
        )


def test_initial_weights_of_a_refinement_leave_its_base_alone() -> None:
    network = RefinedGenerator(refined_entry(), 8, entry(1)).network
    randomise(network, seed=0)
    base, before = state(network.base), state(network.refinement)
    network.initialise(seed=0)
    assert not changed(base, network.base)
    assert changed(before, network.refinement) == set(before)


class Listening(nn.Module):
    """A base that notes what it is shown."""

    def modulations(self, _: Tensor) -> list[Tensor]:
        return []

    def forward(self, x: Tensor, _: list[Tensor]) -> tuple[Tensor, Tensor]:
        self.seen = x
        return x, x


@pytest.mark.parametrize("noise_std", [0.5, 1.0])
def test_the_base_is_shown_noise_of_the_variance_it_was_trained_on(noise_std: float) -> None:
    """96^3 voxels of noise become 48^3 = 110592, whose variance has a standard error of 0.43 %.

    Kept within 2 %. The mean of 8 voxels, and trilinear sampling between them, which is the same
    at half-pixel centres, would leave 1/8 of the variance: 87.5 % too little, 200 standard errors.
    """
    process = Process(1000, noise_std)
    generator = RefinedGenerator(refined_entry(), 96, entry(0, noise_std=noise_std))
    base = Listening()
    generator.network.base = base  # type: ignore[assignment]
    noise = process.noise(0, "test of variance", torch.arange(1), 96)
    x_t = process.diffuse(torch.zeros_like(noise), noise, torch.tensor([1000]))
    with torch.no_grad():
        eps = generator.network(x_t, torch.tensor([1000]))[0]
    assert base.seen.shape == (1, 1, 48, 48, 48)
    assert base.seen.var() == pytest.approx(noise_std**2, rel=0.02)
    assert eps.var() == pytest.approx(noise_std**2, rel=0.02)  # and nearest up keeps it again
    average = nn.functional.avg_pool3d(noise, 2)
    halved = {"scale_factor": 0.5, "mode": "trilinear", "align_corners": False}
    trilinear = nn.functional.interpolate(noise, **halved)
    for broken in (average, trilinear):
        assert broken.var() == pytest.approx(noise_std**2 / 8, rel=0.02)
    # Trilinear upsampling would keep 5/8 per axis, all at the two edges: 25 % of the variance.
    kept = (94 / 96 * 5 / 8 + 2 / 96) ** 3
    assert trilinear_up(base.seen).var() == pytest.approx(noise_std**2 * kept, rel=0.03)


# --- Samplers -----------------------------------------------------------------------------------


@given(
    seed=SEEDS,
    k=st.floats(1.01, 6),
    timesteps=st.integers(20, 2000),
    share=st.floats(0.01, 0.99),
    length=st.floats(0.01, 0.99),
    noise_std=st.floats(0.3, 1.5),
)
@examples(40)
def test_the_corrector_leads_back_onto_the_forward_process(
    seed: int, k: float, timesteps: int, share: float, length: float, noise_std: float
) -> None:
    """One step whose predictor lands on the law of x_{t_pred} exactly; 10^6 voxels of float64.

    The mean of 10^6 draws has a standard error of 0.1 % of the standard deviation, the variance
    one of 0.14 %; both must be within 5 of them, in each of 40 cases with fixed seeds.
    """
    t = max(2, round(share * timesteps))
    t_next = min(t - 1, t - max(1, round(length * t / k)))
    t_pred = t - k * (t - t_next)
    if t_pred <= 0:
        t, t_next = timesteps, timesteps - 1
        t_pred = t - k
    process, x0, rng = Process(timesteps, noise_std), 0.7, np.random.default_rng(seed)
    theta, theta_pred, theta_next = map(process.angle, (t, t_pred, t_next))
    eps, fresh = torch.from_numpy(noise_std * rng.standard_normal((2, 10**6)))
    wanted = math.cos(theta_pred) * x0 + math.sin(theta_pred) * eps
    start = torch.zeros_like(eps)

    def denoise(x: Tensor, _: int) -> tuple[Tensor, Tensor]:
        """Whatever leads the predictor of angle theta to `wanted`."""
        gradient = (wanted - x) / (theta - theta_pred)
        return -math.cos(theta) * gradient, math.sin(theta) * gradient

    end, _ = predictor_corrector(denoise, start, [t, t_next], process, k=k, noise=lambda _: fresh)
    std = noise_std * math.sin(theta_next)
    assert end.mean() == pytest.approx(math.cos(theta_next) * x0, abs=5e-3 * std)
    assert end.var() == pytest.approx(std**2, rel=7e-3)


def steps_with_noise(kind: str, times: Sequence[int], k: float) -> list[int]:
    drawn: list[int] = []

    def noise(step: int) -> Tensor:
        drawn.append(step)
        return torch.zeros(1, 1, 1, 1, 1)

    process = Process(times[0], 1.0)
    x = torch.ones(1, 1, 1, 1, 1)
    sampler(kind)(lambda x, _: (x / 2, x / 3), x, times, process, k=k, noise=noise)
    return drawn


@pytest.mark.parametrize("kind", ["predictor_corrector", "noise_only"])
@given(timesteps=st.integers(2, 500), steps=st.integers(1, 500), k=st.floats(1.001, 6))
@examples(30)
def test_noise_is_drawn_at_k_above_1_alone(kind: str, timesteps: int, steps: int, k: float) -> None:
    times = schedule(timesteps, min(steps, timesteps))
    assert steps_with_noise(kind, times, 1.0) == []
    landing = [t - k * (t - t_next) for t, t_next in pairwise(times)]
    assert steps_with_noise(kind, times, k) == [s for s, at in enumerate(landing) if at > 0]


@given(timesteps=st.integers(2, 500), steps=st.integers(1, 500), k=st.floats(1, 6))
@examples(20)
def test_the_conventional_sampler_draws_at_all_steps_but_the_last(
    timesteps: int, steps: int, k: float
) -> None:
    times = schedule(timesteps, min(steps, timesteps))
    drawn = steps_with_noise("conventional", times, k)
    assert drawn == list(range(len(times) - 2))
    assert drawn == steps_with_noise("conventional", times, 1.0)


def test_every_sampler_is_tested_for_its_draws() -> None:
    assert set(BY_NAME) == {"predictor_corrector", "noise_only", "conventional"}


def test_schedules_of_every_length() -> None:
    """T = 1000; the released one has ceil(1000 / floor(1000 / n)) steps and starts below T."""
    for steps in range(1, 1001):
        even = schedule(1000, steps)
        assert len(even) - 1 == steps
        assert (even[0], even[-1]) == (1000, 0)
        assert all(a > b for a, b in pairwise(even))
        stride = 1000 // steps
        times = released_schedule(1000, steps)
        assert len(times) - 1 == math.ceil(1000 / stride)
        assert len(times) - 1 == steps or (1000 % steps and len(times) - 1 > steps)
        assert times[0] == (len(times) - 2) * stride < 1000
        assert {a - b for a, b in pairwise(times[:-1])} <= {stride}
        assert times[-2:] == [0, 0]


@pytest.mark.parametrize(
    ("steps", "really", "first"),
    [
        *[(1, 1, 0), (2, 2, 500), (3, 4, 999), (10, 10, 900), (300, 334, 999), (400, 500, 998)],
        *[(501, 1000, 999), (999, 1000, 999), (1000, 1000, 999)],
    ],
)
def test_the_released_schedule_by_example(steps: int, really: int, first: int) -> None:
    times = released_schedule(1000, steps)
    assert (len(times) - 1, times[0]) == (really, first)


# --- Mistakes, told with what to do about them --------------------------------------------------


GOOD: dict[str, Any] = {
    "name": "small",
    "datasets": {
        "chests": {"label": "Chests", "source": {"kind": "phantom"}, "grid": {"size": 240}}
    },
    "models": {
        "local": {"depth": 0, "training": {"volumes": 10}},
        "global": {"depth": 4, "start_from": "local", "training": {"volumes": 10}},
        "fine": {
            "generator": "prdit_refined",
            "start_from": "global",
            "training": {"volumes": 10},
        },
        "finer": {
            "generator": "prdit_refined",
            "start_from": "fine",
            "training": {"volumes": 10},
        },
    },
    "samplers": {"k2": {"k": 2}},
    "tables": {"table_1": {"datasets": ["chests"], "size": 80, "sampler": "k2", "rows": ["finer"]}},
}


def told(**changes: Any) -> str:
    """What is said of the good config with these values in it, by dotted key."""
    raw = copy.deepcopy(GOOD)
    load(raw)
    for where, value in changes.items():
        *path, last = where.split(".")
        place = raw
        for part in path:
            place = place[part]
        place[last] = value
    with pytest.raises(UserError) as caught:
        load(raw)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"tables.table_1.rows": ["global"], "tables.table_1.size": 60},
            "config: tables.table_1.size: 60 is no multiple of models.global.stride (8); write 56"
            " or 64, or another stride",
        ),
        (
            {"tables.table_1.size": 120},  # the refinement fits, its base at 60 does not
            "config: tables.table_1.size: 60 is no multiple of models.global.stride (8); write 56"
            " or 64, or another stride (models.fine at 120 builds on half its edge)",
        ),
        (
            {"models.global.width": 100, "models.global.heads": 2},
            "config, models.global: width 100 is no multiple of 6, which the 3D position code"
            " needs; write 96 or 102",
        ),
        (
            {"models.local.start_from": "local"},
            "config, models.local: a stage 1 (depth 0) starts from nothing; remove start_from or"
            " add depth",
        ),
        (
            {"models.finer.width": 48},
            "config: models.finer.width is 48 but 768 in 'fine', which it trains on; write the same"
            " value in both",
        ),
        (
            {"samplers.k2.steps": 2000},
            "config: tables.table_1: samplers.k2.steps is 2000, more than the 1000 timesteps of"
            " models.finer; write 1000 at most",
        ),
        (
            {"samplers.k2.k": 0.75},
            "config key 'samplers.k2.k' is 0.75: input should be greater than or equal to 1",
        ),
        (
            {"models.local.width": 384},
            "config: models.global.width is 768 but 384 in 'local', whose Local Denoiser it starts"
            " from; write the same value in both",
        ),
        (
            {"models.global.start_from": "global"},
            "config: models.global.start_from leads back to 'global'; let one of global start from"
            " another model",
        ),
        (
            {"models.fine.start_from": "finer"},
            "config: models.fine.start_from leads back to 'fine'; let one of fine, finer start from"
            " another model",
        ),
        (
            {"models.global.start_from": "fine"},
            "config: models.global.start_from: 'fine' is no stage 1; name a model of depth 0",
        ),
    ],
    ids=[
        "stride does not divide the edge",
        "stride does not divide the base's edge",
        "width for the position code",
        "stage 1 that starts from another",
        "refined model that trains on another",
        "more steps than timesteps",
        "k below 1",
        "stage 1 of another width",
        "start_from itself",
        "start_from in a circle",
        "stage 1 that is none",
    ],
)
def test_a_mistake_in_the_config(changes: dict[str, Any], sentence: str) -> None:
    assert told(**changes) == sentence


@given(width=st.integers(6, 2000).filter(lambda width: width % 6))
@examples(25)
def test_the_widths_that_are_suggested_are_right(width: int) -> None:
    sentence = told(**{"models.global.width": width, "models.global.heads": 1})
    found = re.search(r"; write (\d+) or (\d+)$", sentence)
    assert found is not None
    low, high = map(int, found.groups())
    assert low < width < high
    for suggested in (low, high):
        raw = copy.deepcopy(GOOD)
        raw["models"]["local"] |= {"width": suggested, "heads": 1}
        raw["models"]["global"] |= {"width": suggested, "heads": 1}
        load(raw)


# --- Weights of another width -------------------------------------------------------------------


def test_a_stage_1_file_gives_what_it_was_made_from(tmp_path: Path) -> None:
    first, path = trained(0, 4, seed=0), tmp_path / "stage-1.safetensors"
    mine = first.network.state_dict()
    about = {"window": [-1000.0, 400.0], "spacing_mm": 1.0}
    weights.save(path, mine, mine, TrainRecipe(model=entry(0), size=4), about)
    fits = PRDiTGenerator(entry(1), 4)
    fits.start_from(weights.load(path)[0])
    assert all(torch.equal(p, mine[n]) for n, p in fits.network.local_parameters().items())


@pytest.mark.parametrize(
    "about", [{"width": 18, "heads": 3}, {"patch": 6}, {"stride": 4}], ids=lambda about: str(about)
)
def test_a_stage_1_of_another_shape_is_refused_whatever_differs(about: dict[str, Any]) -> None:
    second = PRDiTGenerator(entry(1), 4)
    with pytest.raises(UserError, match=r"^the stage-1 weights do not fit: "):
        second.start_from(trained(0, 4, seed=0, **about))


@pytest.mark.parametrize("about", [{"width": 18, "heads": 3}, {"patch": 2}, {"depth": 2}])
def test_a_base_of_another_shape_is_refused(about: dict[str, Any]) -> None:
    generator = RefinedGenerator(refined_entry(), 8, entry(1))
    other = trained(**{"depth": 1, **about}, size=4, seed=0)
    with pytest.raises(UserError, match=r"^the weights to start from do not fit: "):
        generator.start_from(other)
