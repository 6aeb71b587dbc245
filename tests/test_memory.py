"""A lack of memory: recognised in all its forms, and a result only where it is the model's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_device import TOTAL, with_gpus

from prdit.config import Training
from prdit.errors import OutOfMemory, UserError
from prdit.machine import compiled
from prdit.machine import too_large as verdicts
from prdit.machine.memory import GIB, asked_for
from prdit.machine.processes import Processes
from prdit.machine.too_large import that_counts, too_large
from prdit.training.state import State
from prdit.training.states import States
from prdit.training.update import Updates

GPU = torch.device("cuda", 0)
CUDA = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.15 GiB"


def raised_from(cause: Exception) -> Exception:
    error = RuntimeError("backend='inductor' raised")
    error.__cause__ = cause
    return error


def wrapping(cause: Exception) -> Exception:
    """As torch's compiler does."""
    error = torch._dynamo.exc.BackendCompilerFailed(lambda: None, cause, None)
    assert error.inner_exception is cause
    return error


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (torch.OutOfMemoryError(CUDA), "2.50 GiB"),
        (raised_from(torch.OutOfMemoryError(CUDA)), "2.50 GiB"),
        (wrapping(torch.OutOfMemoryError(CUDA)), "2.50 GiB"),
        (wrapping(raised_from(torch.OutOfMemoryError(CUDA))), "2.50 GiB"),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), "more than free"),
        (RuntimeError("CUDA driver error: out of memory"), "more than free"),
        (RuntimeError("Triton Error [CUDA]: out of memory"), "more than free"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "more than free"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "more than free"),
        (
            RuntimeError("CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
            "more than free",
        ),
        (
            torch.distributed.DistBackendError(
                "NCCL error: unhandled cuda error\nLast error:\nCuda failure 2 'out of memory'"
            ),
            "more than free",
        ),
        (RuntimeError("Failed to CUDA calloc 4194304 bytes"), "more than free"),
        (
            RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 2097152 bytes"
            ),
            "2.0 MiB",
        ),
        (
            RuntimeError("GET was unable to find an engine to execute this computation"),
            "more than free",
        ),
        (
            RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
            "more than free",
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling"), "more than free"),
        (OSError(12, "Cannot allocate memory"), "more than free"),
        (MemoryError(), "more than free"),
        (
            MemoryError("Unable to allocate 3 GiB for an array"),
            "3 GiB",
        ),
        (OutOfMemory("3 GiB"), "3 GiB"),
        (RuntimeError("the memory of what I did wrong"), None),
        (RuntimeError("out of resource: shared memory, Required: 262144, Hardware limit"), None),
        (UserError("out of memory (3 GiB) on a GPU of which others hold"), None),
    ],
)
def test_errors_that_tell_of_a_lack_of_memory(error: Exception, asked: str | None) -> None:
    assert asked_for(error) == asked


def test_a_sentence_about_a_lack_of_memory_is_not_seen_through() -> None:
    def answered() -> None:
        try:
            raise torch.OutOfMemoryError(CUDA)
        except torch.OutOfMemoryError:
            raise ValueError("that was answered") from None

    with pytest.raises(ValueError, match="answered") as raised:
        answered()
    assert asked_for(raised.value) is None


def on_a_card(
    monkeypatch: pytest.MonkeyPatch, *, free: float, mine: float, share: float = 1.0
) -> None:
    with_gpus(monkeypatch, 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(free * GIB), TOTAL))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: int(mine * GIB))
    monkeypatch.setattr(torch._C, "_cuda_getMemoryFraction", lambda _: share)
    monkeypatch.setattr(verdicts, "reserved_gpu", lambda: 0)


@pytest.mark.parametrize(
    ("free", "mine", "share", "result"),
    [
        (1, 78, 1.0, True),  # alone on a card of 80 GiB
        (1, 18, 1.0, False),  # somebody holds 60 of them
        (7, 72, 1.0, True),  # the driver's own, and libraries'
        (60, 10, 0.125, True),  # its own limit was met, whoever else is there
        (1, 5, 0.125, False),  # the card is full before its limit is met
    ],
)
def test_it_is_a_result_only_where_nobody_else_holds_the_card(
    free: float, mine: float, share: float, result: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_card(monkeypatch, free=free, mine=mine, share=share)
    kind = OutOfMemory if result else UserError
    assert isinstance(too_large(torch.OutOfMemoryError(CUDA), GPU), kind)
    with pytest.raises(kind), that_counts(GPU):
        raise torch.OutOfMemoryError(CUDA)


ALONE = {"free": 1, "mine": 78}


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        raised_from(OSError(12, "Cannot allocate memory")),
    ],
)
def test_memory_of_the_machine_is_not_the_gpu_s(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_card(monkeypatch, **ALONE)
    assert isinstance(too_large(error, GPU), UserError)
    assert isinstance(too_large(error, torch.device("cpu")), OutOfMemory)


def test_a_shared_gpu_and_code_that_is_not_compiled_give_no_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = torch.OutOfMemoryError(CUDA)
    on_a_card(monkeypatch, **ALONE)
    assert isinstance(too_large(error, GPU), OutOfMemory)
    with monkeypatch.context() as patched:
        patched.setattr(verdicts, "reserved_gpu", lambda: None)
        assert isinstance(too_large(error, GPU), UserError)
    monkeypatch.setattr(compiled, "_failures", ["no C compiler"])
    assert isinstance(too_large(error, GPU), UserError)


@pytest.mark.parametrize(("free", "mine", "full"), [(1, 78, True), (60, 19, False)])
def test_cudnn_means_memory_only_where_there_is_none(
    free: float, mine: float, full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("GET was unable to find an engine to execute this computation")
    on_a_card(monkeypatch, free=free, mine=mine)
    found = too_large(error, GPU)
    assert isinstance(found, OutOfMemory) if full else found is error


def test_other_errors_pass_through(monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_card(monkeypatch, free=1, mine=5)
    for error in (ValueError("x"), OutOfMemory("3 GiB"), UserError("y")):
        with pytest.raises(type(error)) as raised, that_counts(GPU):
            raise error
        assert raised.value is error


class Votes(Processes):
    """Two processes, of which the other says what `other` gives."""

    other = (False, False)

    def any(self, *asked: bool) -> list[bool]:
        return [mine or its for mine, its in zip(asked, self.other, strict=True)]


def raising(error: Exception) -> Any:
    def compute() -> None:
        raise error

    return compute


@pytest.mark.parametrize(
    ("mine", "other", "kind", "said"),
    [
        (None, (True, False), OutOfMemory, "another process"),
        (None, (False, True), UserError, "another process"),
        (OutOfMemory("3 GiB"), (False, False), OutOfMemory, "3 GiB"),
        (OutOfMemory("3 GiB"), (False, True), UserError, "another process"),
        (UserError("others hold it"), (True, False), UserError, "others hold it"),
    ],
)
def test_processes_go_on_together_or_not_at_all(
    mine: Exception | None, other: tuple[bool, bool], kind: type[Exception], said: str
) -> None:
    """It is a result only if no process has another reason; none waits for one that left."""
    two = Votes(torch.device("cpu"), count=2)
    object.__setattr__(two, "other", other)
    with pytest.raises(kind, match=said):
        two.together(raising(mine) if mine else lambda: 1)
    object.__setattr__(two, "other", (False, False))
    assert two.together(lambda: 1) == 1


def test_a_state_that_memory_does_not_suffice_for_is_not_said_not_to_fit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its owner would move it away."""

    def restore(*_: object) -> None:
        raise torch.OutOfMemoryError(CUDA)

    monkeypatch.setattr(State, "restore", restore)
    states = States(tmp_path, {"x": 1}, lambda _: None)
    with pytest.raises(torch.OutOfMemoryError):
        states.restore(State.__new__(State), {})


def test_moments_that_do_not_fit_are_a_result() -> None:
    class Short(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            torch.empty(2**60)

    weight = torch.nn.Parameter(torch.ones(()))
    updates = Updates(Processes(torch.device("cpu")), Training(volumes=4, batch=4), 4)
    updates.batch(torch.zeros(4, 1, 2, 2, 2), torch.arange(4), 4)
    with pytest.raises(OutOfMemory):
        updates(Short([weight], lr=0.1), lambda *_: {"loss": weight * 2})
