"""Which device a run computes on, and that a GPU that was given is not left idle unsaid."""

from __future__ import annotations

import pytest
import torch

from prdit.errors import UserError
from prdit.machine.device import chosen_device

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.mark.parametrize("given", [None, "", "-1", "NoDevFiles"])
def test_without_a_gpu_it_is_the_cpu(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert chosen_device() == torch.device("cpu")


def test_a_gpu_that_was_given_and_cannot_be_seen_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.delenv("PRDIT_CPU", raising=False)
    with pytest.raises(UserError, match=r"given GPUs \(CUDA_VISIBLE_DEVICES=0\) and torch .* none"):
        chosen_device()
    monkeypatch.setenv("PRDIT_CPU", "1")
    assert chosen_device() == torch.device("cpu")
