"""From noise to volumes (section 3.3, Algorithm 1, A.6.3). All samplers have one signature.

A sampler walks falling timesteps with `denoise`, and returns the state at the last of them and the
last prediction of the volume. Nothing of the way is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

from torch import Tensor

from prdit.diffusion.process import Process

Denoise = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""(x_t, t) -> (eps, x0)"""
Noise = Callable[[int], Tensor]
"""The number of a step -> fresh noise like x_t, of the process's standard deviation"""


class Sampler(Protocol):
    """What every function here that makes volumes looks like.

    Args:
        x: [B, 1, S, S, S] noise at times[0], float32; the state stays float32 whatever the model.
        times: falling timesteps, as `schedule` makes.
        k: predictor steps, real, at least 1.

    Returns:
        (state at times[-1], last prediction of x0), like x.
    """

    def __call__(
        self,
        denoise: Denoise,
        x: Tensor,
        times: Sequence[int],
        process: Process,
        *,
        k: float,
        noise: Noise,
    ) -> tuple[Tensor, Tensor]: ...


def schedule(timesteps: int, steps: int) -> list[int]:
    """t_L = T, ..., t_0 = 0 in exactly `steps` steps, as even as whole numbers allow."""
    return [round(timesteps * left / steps) for left in range(steps, -1, -1)]


def released_schedule(timesteps: int, steps: int) -> list[int]:
    """The released code's: every floor(T / steps)-th timestep below T, then 0 once more.

    It starts below T, has more steps than asked for where they do not divide T, and ends in a
    step of no length.
    """
    return [*reversed(range(0, timesteps, timesteps // steps)), 0]


def predictor_corrector(
    denoise: Denoise,
    x: Tensor,
    times: Sequence[int],
    process: Process,
    *,
    k: float,
    noise: Noise,
) -> tuple[Tensor, Tensor]:
    """Algorithm 1: k steps forward without noise, k - 1 back with fresh noise (Eq. 5 and 6).

    k = 1 is cold sampling, which draws no noise. Where the predictor would land beyond t = 0,
    Algorithm 1 is undefined (a square root of a negative number). There, and where it would land
    on 0, a plain step without noise is taken, as in the released code.
    """
    x0 = x
    for step, (t, t_next) in enumerate(pairwise(times)):
        eps, x0 = denoise(x, t)
        t_pred = t - k * (t - t_next)
        hot = k > 1 and t_pred > 0
        theta, theta_next, theta_pred = map(process.angle, (t, t_next, t_pred))
        turn = theta - (theta_pred if hot else theta_next)
        x = x + turn * (math.sin(theta) * x0 - math.cos(theta) * eps)
        if hot:
            alpha = math.cos(theta_next) / math.cos(theta_pred)
            x = alpha * x + math.sqrt(1 - alpha**2) * noise(step)
    return x, x0


def noise_only(
    denoise: Denoise,
    x: Tensor,
    times: Sequence[int],
    process: Process,
    *,
    k: float,
    noise: Noise,
) -> tuple[Tensor, Tensor]:
    """Algorithm 1 with x0 computed from the predicted noise (Eq. 8, Table 5)."""
    implied = _implied(denoise, process)
    return predictor_corrector(implied, x, times, process, k=k, noise=noise)


def conventional(
    denoise: Denoise,
    x: Tensor,
    times: Sequence[int],
    process: Process,
    *,
    k: float,  # noqa: ARG001  # of one signature with the others
    noise: Noise,
) -> tuple[Tensor, Tensor]:
    """The conventional hot sampler, DDIM at eta = 1 (Eq. 7, Table 5); it has no k."""
    implied, x0 = _implied(denoise, process), x
    for step, (t, t_next) in enumerate(pairwise(times)):
        eps, x0 = implied(x, t)
        theta, theta_next = process.angle(t), process.angle(t_next)
        if t == t_next:
            continue
        ratio = math.cos(theta) / math.cos(theta_next)
        sigma = math.sin(theta_next) / math.sin(theta) * math.sqrt(1 - ratio**2)
        towards = math.sqrt(max(math.sin(theta_next) ** 2 - sigma**2, 0.0))
        x = math.cos(theta_next) * x0 + towards * eps
        if sigma > 0:
            x = x + sigma * noise(step)
    return x, x0


def _implied(denoise: Denoise, process: Process) -> Denoise:
    """x0 = (x - sin eps) / cos (A.6.3), theta at most that of T - 1, where cos is above 0."""

    def implied(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        eps, _ = denoise(x, t)
        theta = process.angle(min(t, process.timesteps - 1))
        return eps, (x - math.sin(theta) * eps) / math.cos(theta)

    return implied


BY_NAME: dict[str, Sampler] = {
    "predictor_corrector": predictor_corrector,
    "noise_only": noise_only,
    "conventional": conventional,
}
"""Samplers by their `kind` in the config."""
