"""From noise to volumes (section 3.3, Algorithm 1, A.6.3): every sampler is a table of numbers.

A step takes the state x to x' = a x + b x0 + c eps + d z, with the model's predictions x0 and eps
and fresh noise z. A sampler is the four coefficients of each of its steps, computed in float64; one
loop walks them all, and nothing of the way is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

from torch import Tensor

from prdit.diffusion.process import Process

Denoise = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""(x_t, number of the step) -> (eps, x0)"""
Noise = Callable[[int], Tensor]
"""The number of a step -> fresh noise like x_t, of the process's standard deviation"""


class Step(NamedTuple):
    """x' = x of_x + x0 of_x0 + eps of_eps + z of_noise."""

    of_x: float
    of_x0: float
    of_eps: float
    of_noise: float = 0.0


@dataclass(frozen=True)
class Plan:
    """A sampler at falling timesteps, as `schedule` makes them."""

    times: Sequence[int]
    """The model is called at all but the last, once a step."""
    steps: list[Step]
    prediction: Step
    """What the sampler takes for the volume at its last call; no noise."""


class Sampler(Protocol):
    """What every sampler here looks like: k is real and at least 1."""

    def __call__(self, times: Sequence[int], process: Process, *, k: float) -> Plan: ...


def schedule(timesteps: int, steps: int) -> list[int]:
    """t_L = T, ..., t_0 = 0 in exactly `steps` steps, as even as whole numbers allow."""
    return [round(timesteps * left / steps) for left in range(steps, -1, -1)]


def released_schedule(timesteps: int, steps: int) -> list[int]:
    """The released code's: every floor(T / steps)-th timestep below T, then 0 once more.

    It starts below T, has more steps than asked for where they do not divide T, and ends in a
    step of no length.
    """
    return [*reversed(range(0, timesteps, timesteps // steps)), 0]


def predictor_corrector(times: Sequence[int], process: Process, *, k: float) -> Plan:
    """Algorithm 1: k steps forward without noise, k - 1 back with fresh noise (Eq. 5 and 6).

    k = 1 is cold sampling, which draws no noise. Where the predictor would land beyond t = 0,
    Algorithm 1 is undefined (a square root of a negative number). There, and where it would land
    on 0, a plain step without noise is taken, as in the released code.
    """
    steps = [_predict_and_correct(t, t_next, process, k) for t, t_next in pairwise(times)]
    return Plan(times, steps, Step(0, 1, 0))


def _predict_and_correct(t: int, t_next: int, process: Process, k: float) -> Step:
    t_pred = t - k * (t - t_next)
    hot = k > 1 and t_pred > 0
    theta, theta_next, theta_pred = map(process.angle, (t, t_next, t_pred))
    turn = theta - (theta_pred if hot else theta_next)
    alpha = math.cos(theta_next) / math.cos(theta_pred) if hot else 1.0
    x0, eps = alpha * turn * math.sin(theta), -alpha * turn * math.cos(theta)
    return Step(alpha, x0, eps, math.sqrt(1 - alpha**2))


def noise_only(times: Sequence[int], process: Process, *, k: float) -> Plan:
    """Algorithm 1 with x0 computed from the predicted noise (Eq. 8, Table 5)."""
    return _implied(predictor_corrector(times, process, k=k), process)


def conventional(times: Sequence[int], process: Process, *, k: float) -> Plan:  # noqa: ARG001
    """The conventional hot sampler, DDIM at eta = 1 (Eq. 7, Table 5); it has no k."""
    steps = [_ancestral(t, t_next, process) for t, t_next in pairwise(times)]
    return _implied(Plan(times, steps, Step(0, 1, 0)), process)


def _ancestral(t: int, t_next: int, process: Process) -> Step:
    if t == t_next:
        return Step(1, 0, 0)
    theta, theta_next = process.angle(t), process.angle(t_next)
    ratio = math.cos(theta) / math.cos(theta_next)
    sigma = math.sin(theta_next) / math.sin(theta) * math.sqrt(1 - ratio**2)
    towards = math.sqrt(max(math.sin(theta_next) ** 2 - sigma**2, 0.0))
    return Step(0, math.cos(theta_next), towards, sigma)


def _implied(plan: Plan, process: Process) -> Plan:
    """x0 replaced by (x - sin eps) / cos (A.6.3), theta at most that of T - 1, where cos > 0."""

    def replaced(t: int, step: Step) -> Step:
        theta = process.angle(min(t, process.timesteps - 1))
        x, x0, eps, noise = step
        return Step(x + x0 / math.cos(theta), 0, eps - x0 * math.tan(theta), noise)

    steps = [replaced(t, step) for t, step in zip(plan.times, plan.steps, strict=False)]
    return Plan(plan.times, steps, replaced(plan.times[-2], plan.prediction))


def walk(plan: Plan, denoise: Denoise, x: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """The state at the end of a plan, and the last prediction of the volume.

    Args:
        x: [B, 1, S, S, S] noise at the first time; the state stays of its type (float32), whatever
            the model computes in.
    """
    eps, x0, before = x, x, x
    for number, step in enumerate(plan.steps):
        eps, x0 = denoise(x, number)
        before = x
        x = combine(step, x, x0, eps)
        if step.of_noise:
            x = x.add_(noise(number), alpha=step.of_noise)
    return x, combine(plan.prediction, before, x0, eps)


def combine(step: Step, x: Tensor, x0: Tensor, eps: Tensor) -> Tensor:
    """x of_x + x0 of_x0 + eps of_eps, a new tensor."""
    found = x * step.of_x
    for tensor, factor in ((x0, step.of_x0), (eps, step.of_eps)):
        if factor:
            found = found.add_(tensor, alpha=factor)
    return found


BY_NAME: dict[str, Sampler] = {
    "predictor_corrector": predictor_corrector,
    "noise_only": noise_only,
    "conventional": conventional,
}
"""Samplers by their `kind` in the config."""
