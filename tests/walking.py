"""Samplers as tests like to call them: with a model of (x, t)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from prdit.diffusion.process import Process
from prdit.diffusion.samplers import BY_NAME, Noise, walk

Sampled = Callable[..., tuple[Tensor, Tensor]]


def sampler(kind: str) -> Sampled:
    """(denoise, x, times, process, k=, noise=) -> (state, last prediction of the volume)."""

    def sampled(
        denoise: Callable[[Tensor, int], tuple[Tensor, Tensor]],
        x: Tensor,
        times: Sequence[int],
        process: Process,
        *,
        k: float,
        noise: Noise,
    ) -> tuple[Tensor, Tensor]:
        plan = BY_NAME[kind](times, process, k=k)
        return walk(plan, lambda x, number: denoise(x, times[number]), x, noise)

    return sampled


predictor_corrector = sampler("predictor_corrector")
