"""The process and its samplers: closed forms and invariants."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from walking import predictor_corrector

from prdit.diffusion.noise import uniform
from prdit.diffusion.process import Process, losses
from prdit.diffusion.samplers import schedule

PROCESS = Process(timesteps=1000, noise_std=1.0)


def no_noise(step: int) -> Tensor:
    raise AssertionError(f"noise drawn at step {step}")


@given(timesteps=st.integers(2, 2000), steps=st.integers(1, 2000))
@settings(max_examples=50)
def test_a_schedule_has_exactly_the_steps_asked_for(timesteps: int, steps: int) -> None:
    steps = min(steps, timesteps)
    times = schedule(timesteps, steps)
    assert len(times) == steps + 1
    assert times[0] == timesteps
    assert times[-1] == 0
    gaps = [a - b for a, b in pairwise(times)]
    assert max(gaps) - min(gaps) <= 2
    assert min(gaps) >= 1


@pytest.mark.parametrize("k", [1.0, 2.0, 2.5, 4.0])
def test_a_perfect_model_leads_to_its_volume(k: float) -> None:
    x0 = torch.linspace(-1, 1, 512).reshape(1, 1, 8, 8, 8)

    def denoise(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        theta = PROCESS.angle(t)
        return (x - math.cos(theta) * x0) / math.sin(theta), x0

    start = torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    noise = lambda step: torch.randn(  # noqa: E731
        1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(step)
    )
    times = schedule(1000, 500)
    end, last = predictor_corrector(denoise, start, times, PROCESS, k=k, noise=noise)
    assert torch.equal(last, x0)
    # The last step is one Euler step of pi/1000: its error is what is left.
    assert (end - x0).abs().max() < 0.02


def test_cold_sampling_draws_no_noise() -> None:
    x = torch.ones(1, 1, 2, 2, 2)
    predictor_corrector(lambda x, _: (x, x), x, schedule(1000, 10), PROCESS, k=1, noise=no_noise)


@pytest.mark.parametrize("k", [1.5, 2, 3, 4])
def test_the_last_steps_draw_no_noise(k: float) -> None:
    drawn: list[int] = []

    def noise(step: int) -> Tensor:
        drawn.append(step)
        return torch.zeros(1, 1, 1, 1, 1)

    x = torch.zeros(1, 1, 1, 1, 1)
    predictor_corrector(lambda x, _: (x, x), x, schedule(1000, 100), PROCESS, k=k, noise=noise)
    # Step l lands at t_l - 10 k; only where that is above 0 can there be a corrector.
    assert drawn == [s for s in range(100) if 1000 - 10 * s - 10 * k > 0]


@given(k=st.floats(1.01, 5), steps=st.integers(2, 30))
@settings(max_examples=20, deadline=None)
def test_the_corrector_preserves_variance(k: float, steps: int) -> None:
    """The ideal model of white data leaves a state as it is; so must predictor and corrector."""

    def denoise(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        theta = PROCESS.angle(t)
        return math.sin(theta) * x, math.cos(theta) * x

    index = torch.arange(1)
    start = PROCESS.noise(0, "start", index, 32)
    end, _ = predictor_corrector(
        denoise,
        start,
        schedule(1000, steps),
        PROCESS,
        k=k,
        noise=lambda step: PROCESS.noise(0, "fresh", index, 32, step),
    )
    assert end.var() == pytest.approx(1, abs=0.04)  # 32768 voxels: 5 standard errors


def test_diffusing_and_losses() -> None:
    x0, eps = torch.full((2, 1, 2, 2, 2), 0.5), torch.ones(2, 1, 2, 2, 2)
    noisy = PROCESS.diffuse(x0, eps, torch.tensor([0, 1000]))
    assert torch.allclose(noisy[0], x0[0])
    assert torch.allclose(noisy[1], eps[1])
    found = losses((eps + 1, x0 - 2), eps, x0)
    assert found["loss"] == pytest.approx(5)
    assert found["noise"] == pytest.approx(1)
    assert found["signal"] == pytest.approx(4)


def test_timesteps_run_from_1_to_the_last() -> None:
    process = Process(timesteps=10, noise_std=1)
    t = process.timesteps_at(uniform(0, "timestep", torch.arange(2000)))
    assert sorted(set(t.tolist())) == list(range(1, 11))


def test_noise_has_the_standard_deviation_asked_for() -> None:
    noise = Process(1000, 0.5).noise(0, "x", torch.arange(2), 16)
    assert noise.shape == (2, 1, 16, 16, 16)
    assert noise.std() == pytest.approx(0.5, rel=0.05)
