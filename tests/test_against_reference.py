"""The torch code held to the NumPy reference of the paper's equations (`tests/reference`).

Both sides run in float64 on the same random numbers, so that they may differ by rounding alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import diffusion, high_resolution, model, sampling
from torch import Tensor, nn
from walking import Sampled, sampler

from prdit import config
from prdit.diffusion.noise import normal
from prdit.diffusion.process import Process, losses
from prdit.diffusion.samplers import BY_NAME, released_schedule, schedule
from prdit.generators.prdit import PRDiTGenerator
from prdit.generators.prdit_refined import RefinedGenerator
from prdit.models.embeddings import FREQUENCIES, TimeEmbedding, sinusoid
from prdit.models.local_denoiser import LocalDenoiser
from prdit.models.patches import assemble, extract
from prdit.models.prdit import PRDiT
from prdit.models.refinement import (
    FACTOR,
    RefinedPRDiT,
    consistency,
    nearest_down,
    nearest_up,
    trilinear_up,
)

Array = np.ndarray
Estimate = tuple[Array, Array]
"""(eps, x0)"""

SEEDS = st.integers(0, 2**32 - 1)
K = st.integers(4, 20).map(lambda quarters: quarters / 4)
"""k: real, but exact, so that both sides agree on where the predictor lands at 0."""
NOISE_STD = st.floats(0.1, 2)
EXACT = 1e-12
ROUNDED = 1e-9
TRAINING = config.Training(volumes=1)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def examples(count: int) -> settings:
    return settings(max_examples=count, derandomize=True, database=None, deadline=None)


def same(mine: Tensor, theirs: Array | float, tolerance: float) -> None:
    """Equal up to a tolerance times the largest value; mine must not have left float64."""
    assert mine.dtype == torch.float64
    theirs = np.asarray(theirs)
    scale = max(1.0, float(np.abs(theirs).max()))
    mine = mine.detach()
    np.testing.assert_allclose(mine.numpy(), theirs, rtol=0, atol=tolerance * scale)


# --- Forward process and losses -----------------------------------------------------------------


@given(
    seed=SEEDS,
    timesteps=st.integers(2, 2000),
    noise_std=NOISE_STD,
    shape=st.tuples(st.integers(1, 4), st.just(1), *[st.integers(1, 4)] * 3),
)
@examples(50)
def test_the_forward_process(
    seed: int, timesteps: int, noise_std: float, shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(seed)
    x0, z = rng.uniform(-1, 1, shape), rng.standard_normal(shape)
    times = rng.integers(0, timesteps, shape[0], endpoint=True)
    process = Process(timesteps, noise_std)
    mine = process.diffuse(
        torch.from_numpy(x0), torch.from_numpy(noise_std * z), torch.from_numpy(times)
    )
    for i, t in enumerate(times.tolist()):
        x_t, eps = diffusion.forward_process(x0[i], z[i], t, timesteps, noise_std)
        np.testing.assert_array_equal(eps, noise_std * z[i])
        same(mine[i], x_t, EXACT)


@given(seed=SEEDS, shape=st.tuples(st.integers(1, 3), st.just(1), *[st.integers(1, 5)] * 3))
@examples(60)
def test_the_loss_of_an_estimate(seed: int, shape: tuple[int, ...]) -> None:
    eps_hat, x0_hat, eps, x0 = np.random.default_rng(seed).normal(size=(4, *shape))
    found = losses(
        (torch.from_numpy(eps_hat), torch.from_numpy(x0_hat)),
        torch.from_numpy(eps),
        torch.from_numpy(x0),
    )
    same(found["loss"], diffusion.local_loss(x0_hat, eps_hat, x0, eps), EXACT)
    same(found["signal"], diffusion.local_loss(x0_hat, eps, x0, eps), EXACT)
    same(found["noise"], diffusion.local_loss(x0, eps_hat, x0, eps), EXACT)


@given(seed=SEEDS, depth=st.integers(1, 2), local=st.booleans())
@examples(10)
def test_the_loss_of_stage_2(seed: int, depth: int, local: bool) -> None:
    rng = np.random.default_rng(seed)
    entry = config.PRDiT(
        depth=depth,
        local=local,
        start_from="stage-1" if local else None,
        width=12,
        heads=2,
        patch=4,
        stride=2,
        training=TRAINING,
    )
    generator = PRDiTGenerator(entry, 4)
    network = randomise(generator.network, rng)
    eps, x0, x_t = rng.normal(size=(3, 2, 1, 4, 4, 4))
    t = torch.tensor([1, 700])
    parts = network.parts(torch.from_numpy(x_t), network.modulations(t))
    (*first, (eps_residual, x0_residual)) = [
        [part.detach().numpy() for part in network.volumes(tokens)] for tokens in parts
    ]
    eps_hat, x0_hat = first[0] if local else (0 * eps, 0 * x0)
    found = generator.terms(torch.from_numpy(x_t), t, torch.from_numpy(eps), torch.from_numpy(x0))
    expected = diffusion.global_loss(x0_hat, eps_hat, x0_residual, eps_residual, x0, eps)
    same(found["loss"], expected, EXACT)


# --- Samplers -----------------------------------------------------------------------------------


class Walk(NamedTuple):
    """One thing to sample, the same for both sides."""

    timesteps: int
    times: list[int]
    noise_std: float
    start: Array
    draws: Array
    predict: Callable[[Array, float], Estimate]


class Draws(list[Array]):
    """Notes which of them were read."""

    def __init__(self, values: Array) -> None:
        super().__init__(values)
        self.read: list[int] = []

    def __getitem__(self, step: Any) -> Any:
        self.read.append(step)
        return super().__getitem__(step)


@st.composite
def walks(draw: st.DrawFn, *, repeats: bool = True) -> Walk:
    """Falling timesteps of every kind, from T or below it to 0 or above it.

    Args:
        repeats: a timestep may come twice, as the last does in the released schedule.
    """
    timesteps = draw(st.integers(2, 400))
    kinds = ["even", "any", "released"] if repeats else ["even", "any"]
    kind, steps = draw(st.sampled_from(kinds)), draw(st.integers(1, min(timesteps, 25)))
    if kind == "even":
        times = schedule(timesteps, steps)[: draw(st.integers(2, 26))]
    elif kind == "released":
        times = released_schedule(timesteps, steps)
    else:
        some = st.lists(st.integers(0, timesteps), min_size=2, max_size=15, unique=not repeats)
        times = sorted(draw(some), reverse=True)
    noise_std, rng = draw(NOISE_STD), np.random.default_rng(draw(SEEDS))
    shape = (draw(st.integers(1, 2)), 1, *[draw(st.integers(1, 3))] * 3)
    a, b = rng.standard_normal((2, *shape))

    def predict(x: Array, t: float) -> Estimate:
        """Neither right nor linear, and as different for noise and signal as can be."""
        share = t / timesteps
        return noise_std * np.tanh(0.7 * x + a) + share, np.sin(0.5 * x + b) - 0.3 * share

    start = noise_std * rng.standard_normal(shape)
    draws = rng.standard_normal((len(times) - 1, *shape))
    return Walk(timesteps, times, noise_std, start, draws, predict)


def walked(sampled: Sampled, walk: Walk, k: float) -> tuple[Tensor, Tensor, list[int]]:
    """(end, last x0, steps that drew noise) of a sampler of ours."""
    drawn: list[int] = []

    def denoise(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        eps, x0 = walk.predict(x.numpy(), t)
        return torch.from_numpy(eps), torch.from_numpy(x0)

    def noise(step: int) -> Tensor:
        drawn.append(step)
        return torch.from_numpy(walk.noise_std * walk.draws[step])

    process = Process(walk.timesteps, walk.noise_std)
    start = torch.from_numpy(walk.start)
    end, last = sampled(denoise, start, walk.times, process, k=k, noise=noise)
    return end, last, drawn


@given(walk=walks(), k=K)
@examples(300)
def test_the_predictor_corrector(walk: Walk, k: float) -> None:
    end, last, drawn = walked(sampler("predictor_corrector"), walk, k)
    draws = Draws(walk.draws)
    states, predictions = sampling.predictor_corrector_sampling(
        walk.predict, walk.start, walk.times, walk.timesteps, k, walk.noise_std, draws
    )
    same(end, states[-1], ROUNDED)
    same(last, predictions[-1], ROUNDED)
    moved = [step for step in draws.read if walk.times[step] != walk.times[step + 1]]
    assert drawn == moved  # a step of no length adds noise of no strength, which is not drawn


@given(walk=walks())
@examples(100)
def test_cold_sampling(walk: Walk) -> None:
    end, last, drawn = walked(sampler("predictor_corrector"), walk, k=1)
    states, predictions = sampling.cold_sampling(
        walk.predict, walk.start, walk.times, walk.timesteps
    )
    same(end, states[-1], ROUNDED)
    same(last, predictions[-1], ROUNDED)
    assert not drawn


@given(walk=walks(), k=K)
@examples(300)
def test_the_noise_only_sampler(walk: Walk, k: float) -> None:
    end, last, drawn = walked(sampler("noise_only"), walk, k)
    draws = Draws(walk.draws)
    states, predictions = sampling.noise_only_sampling(
        walk.predict, walk.start, walk.times, walk.timesteps, k, walk.noise_std, draws
    )
    same(end, states[-1], ROUNDED)
    same(last, predictions[-1], ROUNDED)
    moved = [step for step in draws.read if walk.times[step] != walk.times[step + 1]]
    assert drawn == moved  # a step of no length adds noise of no strength, which is not drawn


@given(walk=walks(repeats=False), k=K)
@examples(300)
def test_the_conventional_sampler(walk: Walk, k: float) -> None:
    """Without repeated timesteps, at which Eq. 7 divides 0 by 0 when they are 0.

    From t = T the weight of eps is 0, but the root of a rounding error of 1e-16 is 1e-8.
    """
    end, last, drawn = walked(sampler("conventional"), walk, k)
    states, predictions = sampling.conventional_sampling(
        walk.predict, walk.start, walk.times, walk.timesteps, walk.noise_std, list(walk.draws)
    )
    tolerance = 1e-6 if walk.times[0] == walk.timesteps else ROUNDED
    same(end, states[-1], tolerance)
    same(last, predictions[-1], tolerance)
    assert drawn == [step for step, t_next in enumerate(walk.times[1:]) if t_next > 0]


# --- Patches ------------------------------------------------------------------------------------


@given(
    seed=SEEDS,
    batch=st.integers(1, 2),
    channels=st.integers(1, 2),
    grid=st.tuples(*[st.integers(1, 3)] * 3),
    stride=st.integers(1, 3),
    margin=st.integers(0, 2),
)
@examples(100)
def test_patches(
    seed: int, batch: int, channels: int, grid: tuple[int, int, int], stride: int, margin: int
) -> None:
    margin = min(margin, stride * min(grid) - 1)  # no further than a reflection reaches
    patch = stride + 2 * margin
    x = np.random.default_rng(seed).normal(size=(batch, channels, *(n * stride for n in grid)))
    mine = extract(torch.from_numpy(x), patch, stride)
    theirs = [model.extract_patches(volume, patch, stride) for volume in x]
    same(mine, np.stack(theirs).reshape(batch, -1, channels * patch**3), 0)


@given(
    seed=SEEDS,
    batch=st.integers(1, 2),
    channels=st.integers(1, 2),
    grid=st.tuples(*[st.integers(1, 3)] * 3),
    stride=st.integers(1, 4),
)
@examples(100)
def test_reassembly(
    seed: int, batch: int, channels: int, grid: tuple[int, int, int], stride: int
) -> None:
    """The channel is the fastest index of our tokens, and the slowest of the reference's."""
    shape = (batch, math.prod(grid), channels, stride**3)
    tokens = np.random.default_rng(seed).normal(size=shape)
    mine = assemble(torch.from_numpy(tokens).transpose(2, 3).flatten(2), grid, stride)
    size = tuple(n * stride for n in grid)
    blocks = tokens.reshape(*shape[:3], stride, stride, stride)
    same(mine, np.stack([model.reassemble(sample, size) for sample in blocks]), 0)


# --- Local Denoiser -----------------------------------------------------------------------------


def randomise(network: Any, rng: np.random.Generator) -> Any:
    """The network in float64, every parameter random, layers' outputs of order 1."""
    network.double()
    for name, parameter in network.named_parameters():
        value = rng.standard_normal(parameter.shape)
        if parameter.ndim > 1:
            value /= math.sqrt(parameter.shape[1])
        elif name.endswith("weight"):
            value = 1 + 0.3 * value
        parameter.data.copy_(torch.from_numpy(value))
    return network


def reference_weights(time: TimeEmbedding, local: LocalDenoiser) -> dict[str, Array]:
    """Our parameters under the names that `reference.model` documents.

    A row of our head is 2 i for the noise of voxel i, and 2 i + 1 for its signal; the reference has
    all of the signal, then all of the noise. The entries of a patch are in one order.
    """
    assert time.to_local is not None
    layers = {"trunk": time.trunk, "time": time.to_local}
    layers |= {"modulation": local.modulation, "out": local.head}
    for its, block in (("swiglu1", local.first), ("swiglu2", local.second)):
        layers |= {f"{its}.gate": block.gate, f"{its}.value": block.value, f"{its}.out": block.out}
        layers[f"{its}.norm"] = block.norm
    w = {}
    for name, layer in layers.items():
        for kind in ("weight", "bias"):
            w[f"{name}.{kind}"] = getattr(layer, kind).detach().double().numpy()
    for name in ("out.weight", "out.bias"):
        w[name] = np.concatenate([w[name][1::2], w[name][::2]])
    return w


def embedded(t: float, w: dict[str, Array]) -> Array:
    """c of a timestep, which the reference is given (the paper says only TimeEmbed)."""
    code = sinusoid(torch.tensor([t]), FREQUENCIES)[0].double().numpy()
    return model.silu(model.linear(code, w, "trunk"))


def reference_stage_1(network: PRDiT) -> Callable[[Array, float], Estimate]:
    """(x, t) -> (eps, x0) of the reference, with the weights of a stage 1."""
    assert network.local is not None
    w = reference_weights(network.time, network.local)

    def predict(x: Array, t: float) -> Estimate:
        return model.local_denoiser_volume(x, embedded(t, w), w, network.patch, network.stride)

    return predict


@given(
    seed=SEEDS,
    grid=st.integers(1, 3),
    stride=st.integers(1, 3),
    margin=st.integers(0, 1),
    width=st.integers(1, 20),
    times=st.lists(st.integers(0, 1000), min_size=1, max_size=3),
)
@examples(100)
def test_the_local_denoiser(
    seed: int, grid: int, stride: int, margin: int, width: int, times: list[int]
) -> None:
    size = grid * stride
    patch = stride + 2 * min(margin, size - 1)
    rng = np.random.default_rng(seed)
    network = PRDiT(size, patch=patch, stride=stride, width=width, heads=1, depth=0)
    randomise(network, rng)
    predict = reference_stage_1(network)
    x_t = rng.normal(size=(len(times), 1, size, size, size))
    eps, x0 = network(torch.from_numpy(x_t), torch.tensor(times))
    for i, t in enumerate(times):
        for mine, theirs in zip((eps, x0), predict(x_t[i], t), strict=True):
            same(mine[i], theirs, ROUNDED)


@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(sorted(BY_NAME)),
    k=K,
    steps=st.integers(1, 8),
    timesteps=st.integers(8, 20),
    plan=st.sampled_from(["even", "released"]),
    noise_std=st.sampled_from([0.5, 1.0]),
)
@examples(60)
def test_samples_of_a_generator(
    seed: int, kind: Any, k: float, steps: int, timesteps: int, plan: Any, noise_std: float
) -> None:
    """End to end in float32, hence the tolerance; the random numbers are those of our addresses."""
    if kind == "conventional":
        plan = "even"  # of the released schedule's last step, 0 to 0, the reference makes 0 / 0
    entry = config.PRDiT(
        depth=0,
        width=6,
        heads=1,
        patch=4,
        stride=2,
        timesteps=timesteps,
        noise_std=noise_std,
        training=TRAINING,
    )
    generator = PRDiTGenerator(entry, 4)
    randomise(generator.network, np.random.default_rng(seed)).float()
    predict = reference_stage_1(generator.network)
    index, shape = torch.tensor([2, 5]), (1, 4, 4, 4)
    start = noise_std * normal(seed, "sampling start", index, shape).double().numpy()
    times = (schedule if plan == "even" else released_schedule)(timesteps, steps)
    count = len(times) - 1
    draws = np.stack(
        [normal(seed, "sampling noise", index, shape, step=i).double() for i in range(count)]
    )
    about = {"kind": kind, "k": k, "steps": steps, "schedule": plan}
    end = generator.drawing(config.Sampler(**about))(index, seed)
    last = generator.drawing(config.Sampler(**about, output="prediction"))(index, seed)
    for i in range(2):
        given_: tuple[Any, ...] = (predict, start[i], times, timesteps)
        mine: list[Array] = list(draws[:, i])
        if kind == "conventional":
            states, x0s = sampling.conventional_sampling(*given_, noise_std, mine)
        elif kind == "noise_only":
            states, x0s = sampling.noise_only_sampling(*given_, k, noise_std, mine)
        else:
            states, x0s = sampling.predictor_corrector_sampling(*given_, k, noise_std, mine)
        same(end[i].double(), states[-1], 1e-4)
        same(last[i].double(), x0s[-1], 1e-4)


# --- High resolution ----------------------------------------------------------------------------


@given(
    seed=SEEDS,
    batch=st.integers(1, 2),
    channels=st.integers(1, 2),
    size=st.tuples(*[st.integers(1, 4)] * 3),
)
@examples(100)
def test_resampling(seed: int, batch: int, channels: int, size: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(seed)
    low = rng.normal(size=(batch, channels, *size))
    high = rng.normal(size=(batch, channels, *(FACTOR * n for n in size)))
    down = [high_resolution.downsample_nearest(x, FACTOR) for x in high]
    same(nearest_down(torch.from_numpy(high)), np.stack(down), 0)
    up = [high_resolution.upsample_nearest(x, FACTOR) for x in low]
    same(nearest_up(torch.from_numpy(low)), np.stack(up), 0)
    smooth = [high_resolution.upsample_trilinear(x, FACTOR) for x in low]
    same(trilinear_up(torch.from_numpy(low)), np.stack(smooth), EXACT)


@given(seed=SEEDS, batch=st.integers(1, 3), size=st.tuples(st.just(1), *[st.integers(1, 4)] * 3))
@examples(60)
def test_the_consistency_loss(seed: int, batch: int, size: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    eps_low, x0_low = rng.normal(size=(2, batch, *size))
    eps, x0 = rng.normal(size=(2, batch, 1, *(FACTOR * n for n in size[1:])))
    mine = consistency(
        (torch.from_numpy(eps), torch.from_numpy(x0)),
        (torch.from_numpy(eps_low), torch.from_numpy(x0_low)),
    )
    each = [
        high_resolution.consistency_loss(eps[i], x0[i], eps_low[i], x0_low[i], FACTOR)
        for i in range(batch)
    ]
    same(mine, np.mean(each), EXACT)


class StandIn(nn.Module):
    """A base whose noise and signal differ, and which no network is needed for."""

    def modulations(self, t: Tensor) -> list[Tensor]:
        return [t]

    def forward(self, x: Tensor, modulations: list[Tensor]) -> tuple[Tensor, Tensor]:
        (t,) = modulations
        share = t.to(x).reshape(-1, 1, 1, 1, 1) / 1000
        return torch.tanh(x) + share, torch.sin(2 * x) - share


def stand_in(x: Array, t: float) -> Estimate:
    return np.tanh(x) + t / 1000, np.sin(2 * x) - t / 1000


def reference_refiner(
    network: RefinedPRDiT, base: Callable[[Array, float], Estimate]
) -> Callable[[Array, float], Estimate]:
    """(x_t, t) -> residuals of the reference, with the weights of a refinement.

    Where ours sees the upsampled signal too, this one makes it once more: the reference's refiner
    is given x_t and t alone.
    """
    w = reference_weights(network.time, network.refinement)
    s = network.stride

    def residuals(x_t: Array, t: float) -> Estimate:
        seen = x_t
        if network.sees_estimate:
            _, x0_low = base(high_resolution.downsample_nearest(x_t, FACTOR), t)
            seen = np.concatenate([x_t, high_resolution.upsample_trilinear(x0_low, FACTOR)])
        patches = model.extract_patches(seen, network.patch, s)
        v = patches.reshape(len(patches), -1)
        c = model.local_time_embedding(embedded(t, w), w)
        eps, x0 = (tokens.reshape(-1, 1, s, s, s) for tokens in model.local_denoiser(v, c, w))
        return model.reassemble(eps, x_t.shape[1:]), model.reassemble(x0, x_t.shape[1:])

    return residuals


@given(
    seed=SEEDS,
    stride=st.integers(1, 4),
    margin=st.integers(0, 1),
    blocks=st.integers(1, 2),
    sees_estimate=st.booleans(),
    times=st.lists(st.integers(0, 1000), min_size=1, max_size=2),
)
@examples(60)
def test_a_refined_estimate(
    seed: int, stride: int, margin: int, blocks: int, sees_estimate: bool, times: list[int]
) -> None:
    size = math.lcm(stride, FACTOR) * blocks
    rng = np.random.default_rng(seed)
    patch = stride + 2 * margin
    shape = {"patch": patch, "stride": stride, "width": 5, "sees_estimate": sees_estimate}
    network = RefinedPRDiT(StandIn(), size, **shape)  # type: ignore[arg-type]
    randomise(network, rng)
    x_t = rng.normal(size=(len(times), 1, size, size, size))
    modulations = network.modulations(torch.tensor(times))
    high, low = network.refined(torch.from_numpy(x_t), modulations)
    residuals = reference_refiner(network, stand_in)
    for i, t in enumerate(times):
        theirs = high_resolution.high_resolution_estimates(x_t[i], t, stand_in, residuals, FACTOR)
        for mine, its in zip((*high, *low), theirs, strict=True):
            same(mine[i], its, ROUNDED)


@given(
    seed=SEEDS,
    base_stride=st.integers(1, 2),
    stride=st.sampled_from([1, 2, 4]),
    refiner_input=st.sampled_from(["noisy", "noisy_and_estimates"]),
    weight=st.floats(0, 2),
)
@examples(15)
def test_a_refined_generator_and_its_loss(
    seed: int, base_stride: int, stride: int, refiner_input: Any, weight: float
) -> None:
    """The whole of section 3.4 at once, on a stage 1 of the reference."""
    rng = np.random.default_rng(seed)
    base = config.PRDiT(
        depth=0, width=6, heads=1, patch=base_stride + 2, stride=base_stride, training=TRAINING
    )
    entry = config.PRDiTRefined(
        generator="prdit_refined",
        start_from="base",
        refiner_input=refiner_input,
        consistency=weight,
        width=7,
        patch=stride + 2,
        stride=stride,
        training=TRAINING,
    )
    generator = RefinedGenerator(entry, 4, base)
    network = randomise(generator.network, rng)
    low_res = reference_stage_1(network.base)
    residuals = reference_refiner(network, low_res)
    x_t, eps, x0 = rng.normal(size=(3, 2, 1, 4, 4, 4))
    times = [3, 650]
    found = generator.terms(
        torch.from_numpy(x_t),
        torch.tensor(times),
        torch.from_numpy(eps),
        torch.from_numpy(x0),
    )
    total, kept = 0.0, 0.0
    for i, t in enumerate(times):
        estimates = high_resolution.high_resolution_estimates(x_t[i], t, low_res, residuals, FACTOR)
        total += diffusion.local_loss(estimates[1], estimates[0], x0[i], eps[i]) / 2
        kept += high_resolution.consistency_loss(*estimates, FACTOR) / 2
    same(found["loss"], total + weight * kept, ROUNDED)
    same(found["consistency"], kept, ROUNDED)
