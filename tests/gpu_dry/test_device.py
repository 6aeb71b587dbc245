"""The device that is not there, itself: what it lets pass, what it counts, what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch._inductor.exc import InductorError
from torch._subclasses.fake_tensor import DataDependentOutputException

from gpu_dry import compiling
from gpu_dry.device import DEVICE, SM
from gpu_dry.watching import Watch

pytestmark = pytest.mark.usefixtures("gpu")
N = 2**20


def test_a_compiled_kernel_is_counted_with_its_bytes() -> None:
    def function(x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sin() + 1

    x, y = (torch.empty(N, device=DEVICE) for _ in range(2))
    before = len(compiling.cubins)
    with Watch() as watch:
        z = torch.compile(function, fullgraph=True)(x, y)
    assert z.device == DEVICE
    assert list(watch.bytes.values()) == [3 * 4 * N]
    assert sum(watch.launches.values()) == 1
    made = compiling.cubins[before:]
    assert made
    assert all(cubin.startswith(b"\x7fELF") for cubin in made)


def test_a_kernel_that_is_none_does_not_compile() -> None:
    def product(x: Tensor) -> Tensor:
        return x + torch.arange(N, device=DEVICE) * 0xD2511F53

    with pytest.raises(InductorError, match="out of range for type int32"):
        torch.compile(product, fullgraph=True)(torch.empty(N, dtype=torch.int64, device=DEVICE))


def test_memory_is_followed_to_its_end() -> None:
    with Watch() as watch:
        x = torch.empty(N, device=DEVICE)
        y = x.add(1).mul(2)
        assert (watch.now, watch.peak) == (2 * 4 * N, 3 * 4 * N)
        del x, y
        assert watch.now == 0


def test_gradients_are_followed_too() -> None:
    with Watch() as watch:
        x = torch.empty(N, device=DEVICE, requires_grad=True)
        x.exp().sum().backward()
    assert x.grad is not None
    assert x.grad.device == DEVICE
    assert watch.peak >= 3 * 4 * N


def test_copies_between_host_and_device_are_told() -> None:
    with Watch() as watch:
        torch.ones(3).to(DEVICE)
        torch.empty(2, device=DEVICE).cpu()
        torch.empty(4, device=DEVICE).copy_(torch.ones(4))
    assert sum(watch.faults.values()) == 3


def test_values_cannot_be_waited_for() -> None:
    with pytest.raises(DataDependentOutputException):
        float(torch.empty((), device=DEVICE))


def test_devices_are_not_mixed() -> None:
    with pytest.raises(RuntimeError, match="device"):
        torch.empty(3, device=DEVICE) + torch.empty(3)


def test_attention_is_that_of_the_card() -> None:
    q = torch.empty(2, 12, 4096, 64, dtype=torch.bfloat16, device=DEVICE)
    with Watch() as watch:
        torch.nn.functional.scaled_dot_product_attention(q, q, q)
    (name,) = (name for name in watch.launches if "attention" in name)
    assert ("flash" if SM == 80 else "cudnn") in name
