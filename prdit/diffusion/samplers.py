"""From noise to volumes (section 3.3, Algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

from prdit.diffusion.process import Process

Denoise = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""(x_t, t) -> (eps, x0)"""
Noise = Callable[[int], Tensor]
"""The number of a step -> fresh noise like x_t"""


def schedule(timesteps: int, steps: int) -> list[int]:
    """t_L = T, ..., t_0 = 0 in exactly `steps` steps, as even as whole numbers allow."""
    return [round(timesteps * left / steps) for left in range(steps, -1, -1)]


def predictor_corrector(
    denoise: Denoise,
    x: Tensor,
    times: Sequence[int],
    process: Process,
    *,
    k: float,
    noise: Noise,
) -> Tensor:
    """Algorithm 1: k steps forward without noise, k - 1 back with fresh noise (Eq. 5 and 6).

    Where the predictor would land at or beyond t = 0, Algorithm 1 is undefined (a square root of a
    negative number); there a plain step without noise is taken, as in the released code.

    Args:
        x: [B, 1, S, S, S] noise at times[0], float32.
        times: falling timesteps, as `schedule` makes.
        k: real, at least 1; 1 is cold sampling, which draws no noise.

    Returns:
        The state at times[-1], like x.
    """
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
    return x
