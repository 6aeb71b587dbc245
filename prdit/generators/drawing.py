"""Samples of a diffusion generator, near the limit of the machine.

What depends on timesteps alone is computed for many steps at once. A GPU repeats one step as a CUDA
graph, for which numbers of steps, coefficients and noise are tensors too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import Tensor, nn

from prdit.diffusion import samplers
from prdit.diffusion.noise import key, normal_at
from prdit.diffusion.process import Process
from prdit.generators.precision import precision
from prdit.machine.compiled import compile_module, compiled, gives_up
from prdit.models.global_dit import Block, PatchEmbedding
from prdit.models.local_denoiser import LocalDenoiser
from prdit.models.prdit import PRDiT
from prdit.models.refinement import RefinedPRDiT

if TYPE_CHECKING:
    from prdit import config

Network = PRDiT | RefinedPRDiT
Value = TypeVar("Value")

NOISE = "sampling noise"
STEPS_AHEAD = 64
"""Steps whose modulations are made at once on a CPU; memory does not grow with their number."""
NOISE_AHEAD = 2**17
"""Random values that are drawn at once on a CPU: of several steps, if volumes are small."""


class Drawing:
    """Draws samples by one sampler: prepared once, called for each batch.

    Args:
        network: float32. On a GPU, a copy computes in bfloat16 if the sampler says so; the state is
            float32 in any case, since a step is finer than bfloat16 can tell (pi / 2000 of x).
    """

    def __init__(
        self, network: Network, process: Process, size: int, sampler: config.Sampler
    ) -> None:
        schedule = samplers.schedule if sampler.schedule == "even" else samplers.released_schedule
        times = schedule(process.timesteps, sampler.steps)
        self.plan = samplers.BY_NAME[sampler.kind](times, process, k=sampler.k)
        self.network, self.process, self.size, self.output = network, process, size, sampler.output
        self.device = next(network.parameters()).device
        self.repeated: Repeated | None = None
        if self.device.type == "cuda":
            half = sampler.precision == "bfloat16"
            precision(sampler.precision, self.device)  # whether TF32 is used
            self.repeated = Repeated(self, torch.bfloat16 if half else torch.float32)

    @torch.inference_mode()
    def __call__(self, index: Tensor, seed: int) -> Tensor:
        """Volumes number `index` [B] of a seed: float32 [B, 1, S, S, S]."""
        try:
            start = self.process.noise(seed, "sampling start", index, self.size)
            if self.repeated is not None:
                state, prediction = self.repeated(start, index, seed)
            else:
                denoise, noise = self.denoiser(), self.noise(index, seed)
                state, prediction = samplers.walk(self.plan, denoise, start, noise)
            return state if self.output == "state" else prediction
        except BaseException:
            if self.repeated is not None:  # memory may be what lacks: let go of its own
                self.repeated.forget()
            raise

    def times(self, numbers: Sequence[int]) -> Tensor:
        """Timesteps of steps."""
        return torch.tensor([self.plan.times[n] for n in numbers], device=self.device)

    def denoiser(self) -> samplers.Denoise:
        """The network at a step of the plan."""

        def modulations(numbers: Sequence[int]) -> Iterable[list[Tensor]]:
            made = self.network.modulations(self.times(numbers))
            return ([m[i : i + 1] for m in made] for i in range(len(numbers)))

        of_step = Ahead(range(len(self.plan.steps)), STEPS_AHEAD, modulations)
        return lambda x, number: self.network(x, of_step(number))

    def noise(self, index: Tensor, seed: int) -> samplers.Noise:
        """Fresh noise at a step of the plan."""

        def drawn(numbers: Sequence[int]) -> Iterable[Tensor]:
            step = torch.tensor(numbers, device=index.device).repeat_interleave(len(index))
            some = index.repeat(len(numbers))
            made = self.process.noise(seed, NOISE, some, self.size, step)
            return made.split(len(index))

        noisy = [n for n, step in enumerate(self.plan.steps) if step.of_noise]
        return Ahead(noisy, max(1, NOISE_AHEAD // (len(index) * self.size**3)), drawn)


def compile_blocks(network: nn.Module) -> None:
    """Let a GPU compile what it does over and over, one block at a time; names stay."""
    for module in network.modules():
        if isinstance(module, Block | LocalDenoiser | PatchEmbedding):
            compile_module(module)


class Ahead(Generic[Value]):
    """Values by number, made several at a time in the order in which they will be asked for."""

    def __init__(
        self,
        numbers: Sequence[int],
        many: int,
        make: Callable[[Sequence[int]], Iterable[Value]],
    ) -> None:
        self.numbers, self.many, self.make = numbers, many, make
        self.made: dict[int, Value] = {}

    def __call__(self, number: int) -> Value:
        if number not in self.made:
            first = self.numbers.index(number)
            some = self.numbers[first : first + self.many]
            self.made = dict(zip(some, self.make(some), strict=True))
        return self.made[number]


class Repeated:
    """A drawing whose steps are all the same function of tensors, which a GPU records and repeats.

    Args:
        dtype: that the network computes in.
    """

    def __init__(self, drawing: Drawing, dtype: torch.dtype) -> None:
        self.plan, self.process, self.size = drawing.plan, drawing.process, drawing.size
        self.dtype = dtype
        steps = range(len(self.plan.steps))
        with torch.inference_mode():
            made = drawing.network.modulations(drawing.times(steps))
        self.table = [m.to(dtype) for m in made]
        self.network = copy.deepcopy(drawing.network).to(dtype)
        self.coefficients = torch.tensor(self.plan.steps, device=drawing.device)
        self.draws_noise = any(step.of_noise for step in self.plan.steps)
        self.normal = normal_at
        if drawing.device.type == "cuda":
            self.compile()
        self.recorded: tuple[int, Callable[[], None]] | None = None
        """For how many volumes, and what takes a step."""

    def compile(self) -> None:
        """Compile the blocks of the network, and the noise."""
        compile_blocks(self.network)
        self.normal = compiled(normal_at)

    def __call__(self, start: Tensor, index: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """State at the end and last prediction, for start noise [B, 1, S, S, S]."""
        count = len(index)
        if self.recorded is None or self.recorded[0] < count:
            self.forget()  # before there is more of it
            self.recorded = (count, self.record(start, index, seed))
        batch, take_step = self.recorded
        # Fewer volumes are filled up by more of the last, since another size is compiled anew.
        filled = torch.arange(batch, device=index.device).clamp(max=count - 1)
        self.begin(start[filled], index[filled], seed)
        for _ in self.plan.steps:
            take_step()
        return self.x[:count].clone(), self.prediction()[:count]

    def forget(self) -> None:
        """Let go of what was recorded, and of the tensors that it works on."""
        self.recorded = None
        for name in ("x", "before", "x0", "eps"):
            vars(self).pop(name, None)

    def prediction(self) -> Tensor:
        """What the sampler takes for the volume, at the step that was taken last."""
        return samplers.combine(self.plan.prediction, self.before, self.x0, self.eps)

    def begin(self, start: Tensor, index: Tensor, seed: int) -> None:
        """Put the tensors that steps work on to where the first step finds them."""
        self.x.copy_(start)
        self.index.copy_(index)
        self.number.zero_()
        for place, word in zip(self.key, key(seed, NOISE), strict=True):
            place.fill_(word)

    def record(self, start: Tensor, index: Tensor, seed: int) -> Callable[[], None]:
        """One step as a CUDA graph; on a CPU, as it is."""
        self.allocate(start, index)
        if start.device.type != "cuda":
            return self.step
        try:
            self.warm_up(start, index, seed)
        except Exception as error:
            if not gives_up(error):
                raise
            self.warm_up(start, index, seed)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        return graph.replay

    def warm_up(self, start: Tensor, index: Tensor, seed: int) -> None:
        """Compile, and let libraries allocate what they need, on a stream aside."""
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self.begin(start, index, seed)
                self.step()
        torch.cuda.current_stream().wait_stream(aside)

    def allocate(self, start: Tensor, index: Tensor) -> None:
        """The tensors that steps work on, at addresses that stay."""
        self.x, self.before, self.x0, self.eps = (torch.zeros_like(start) for _ in range(4))
        self.index, self.number = index.clone(), torch.zeros_like(index[:1])
        self.key = torch.zeros(2, dtype=torch.int64, device=index.device)

    def step(self) -> None:
        """One step from wherever `number` stands; it moves on by itself."""
        modulations = [table.index_select(0, self.number) for table in self.table]
        eps, x0 = self.network(self.x.to(self.dtype), modulations)
        self.before.copy_(self.x)
        self.eps.copy_(eps)
        self.x0.copy_(x0)
        of_x, of_x0, of_eps, of_noise = self.coefficients.index_select(0, self.number)[0]
        self.x.copy_(of_x * self.before + of_x0 * self.x0 + of_eps * self.eps)
        if self.draws_noise:
            step = self.number.expand(len(self.index))
            fresh = self.normal(self.key, self.index, tuple(self.x.shape[1:]), step)
            self.x.add_(of_noise * self.process.noise_std * fresh)
        self.number.add_(1)
