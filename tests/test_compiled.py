"""What a GPU compiles, by a compiler that counts and changes nothing; and doing without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from stepping import ALONE
from torch import Tensor

from prdit.config import PRDiT, PRDiTRefined, Sampler, Training
from prdit.generators.drawing import Repeated
from prdit.generators.prdit import AnyPRDiT, PRDiTGenerator
from prdit.generators.prdit_refined import RefinedGenerator
from prdit.machine import compiled
from prdit.training.update import Updates

TRAINING = Training(volumes=64, batch=16, learning_rate=1e-3)
STAGE_2 = PRDiT(
    depth=1, width=24, heads=2, patch=4, stride=2, start_from="local", training=TRAINING
)
NO_C_COMPILER = "Failed to find C compiler. Please specify via CC environment variable"


def stage_2() -> AnyPRDiT:
    return PRDiTGenerator(STAGE_2, 8)


def refined() -> AnyPRDiT:
    entry = PRDiTRefined(
        generator="prdit_refined",
        start_from="x",
        width=24,
        patch=4,
        stride=2,
        train_base=True,
        training=TRAINING,
    )
    return RefinedGenerator(entry, 16, STAGE_2)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many operations each graph has that was handed to the compiler."""
    found: list[int] = []

    def backend(module: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        found.append(len(module.graph.nodes))
        return module.forward

    torch._dynamo.reset()
    monkeypatch.setattr(compiled, "BACKEND", backend)
    monkeypatch.setattr(compiled, "_failures", [])
    yield found
    torch.compiler.set_stance("default")
    torch._dynamo.reset()


def step(generator: AnyPRDiT, count: int, micro_batch: int, first: int = 0) -> Updates:
    updates = Updates(ALONE, TRAINING, micro_batch)
    x0 = torch.zeros(count, 1, *[generator.size] * 3)
    updates.batch(x0, torch.arange(first, first + count), count)
    generator.step(updates)
    return updates


@pytest.mark.parametrize("make", [stage_2, refined])
def test_a_training_compiles_one_graph_for_each_size(
    make: Callable[[], AnyPRDiT], graphs: list[int]
) -> None:
    """The whole loss with its noise; a validation and other steps, volumes and remainders add none.

    A micro-batch of 8 takes a share of 22 volumes as 8, 7 and 7.
    """
    generator = make()
    generator.optimizers()
    generator.compile()
    step(generator, 16, 8)
    assert len(graphs) == 1
    step(generator, 16, 8, first=2**40)
    with torch.no_grad():
        generator.validation(torch.zeros(3, 1, *[generator.size] * 3), torch.arange(3))
    assert len(graphs) == 1
    step(generator, 22, 8)
    assert len(graphs) == 2


@pytest.mark.parametrize("make", [stage_2, refined])
def test_a_batch_may_be_halved_to_one(make: Callable[[], AnyPRDiT], graphs: list[int]) -> None:
    generator = make()
    generator.optimizers()
    generator.compile()
    plain = generator.losses

    def short(x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        found = plain(x0, index)
        if len(x0) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return found

    generator.losses = short  # type: ignore[method-assign]
    updates = step(generator, 16, 16)
    assert updates.micro_batch == 1
    assert len(graphs) == 5  # 16, 8, 4, 2, 1


@torch.inference_mode()
@pytest.mark.parametrize("make", [stage_2, refined])
def test_drawing_compiles_once_for_every_seed_and_a_last_batch(
    make: Callable[[], AnyPRDiT], graphs: list[int]
) -> None:
    generator = make()
    repeated = Repeated(generator.drawing(Sampler(k=2, steps=3)), torch.float32)
    repeated.compile()

    def draw(count: int, seed: int) -> int:
        index = torch.arange(count)
        start = generator.process.noise(seed, "sampling start", index, generator.size)
        repeated(start, index, seed)
        return len(graphs)

    once = draw(8, 0)
    assert once >= 3  # blocks, and noise
    assert [draw(8, 1), draw(4, 1), draw(1, 20)] == [once] * 3
    for size in (9, 10, 11, 12, 13, 14, 15, 16, 17, 18):  # more than torch's usual limit
        draw(size, 0)


@pytest.mark.usefixtures("graphs")
def test_a_training_goes_on_where_nothing_can_be_compiled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError(NO_C_COMPILER)

    monkeypatch.setattr(compiled, "BACKEND", broken)
    generator, plain = stage_2(), stage_2()
    for one in (generator, plain):
        one.optimizers()
    generator.compile()
    for one in (generator, plain):
        step(one, 4, 4)
    step(generator, 4, 4)
    said = capsys.readouterr().err
    assert said.count("compiling for the GPU failed") == 1
    assert not compiled.gives_up(RuntimeError(NO_C_COMPILER))  # once: it is not compiled any more
    assert "C compiler" in said
    step(plain, 4, 4)
    for mine, its in zip(generator.network.parameters(), plain.network.parameters(), strict=True):
        assert torch.equal(mine, its)


def test_other_errors_are_not_taken_for_a_compiler_s() -> None:
    assert not compiled.gives_up(RuntimeError("shapes do not match"))
    assert not compiled.gives_up(torch.OutOfMemoryError("CUDA out of memory"))
    wrapped = RuntimeError("backend raised")
    wrapped.__cause__ = torch.OutOfMemoryError("CUDA out of memory")
    assert not compiled.gives_up(wrapped)
