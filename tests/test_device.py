"""Which device a run computes on: asked for, given, or the first GPU that nobody else has taken."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from stepping import store
from torch._subclasses.fake_tensor import FakeTensorMode

from prdit.config import Sampler
from prdit.critic.pairs import Pairs
from prdit.data.store import open_store
from prdit.diffusion.noise import key_on
from prdit.errors import UserError
from prdit.generators.draw import Source
from prdit.generators.precision import precision
from prdit.machine import device as devices
from prdit.machine import memory, rate
from prdit.machine import too_large as verdicts
from prdit.machine.device import chosen_device, device_name, first_free, reserved_gpu
from prdit.machine.processes import Processes
from prdit.recipes import SampleRecipe
from prdit.training.attempt import product_rate
from prdit.training.feed import Feed

ROOT = Path(__file__).resolve().parents[1]
TOTAL = 80 * memory.GIB


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No GPU is reserved yet, and locks lie in a folder of the test's own."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("PRDIT_CPU", raising=False)
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(devices, "_locks", [])
    devices.reserved_gpu.cache_clear()
    yield
    devices.reserved_gpu.cache_clear()


def with_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """torch.cuda as it answers where there are GPUs; arguments are checked as the real one does."""
    about = {"total_memory": TOTAL, "name": "a GPU"}
    with_index = torch.cuda._utils._get_device_index
    answers = {
        "is_available": lambda: True,
        "device_count": lambda: count,
        "set_device": lambda _: None,
        "get_device_properties": lambda d=0: SimpleNamespace(uuid=f"GPU-{d}", **about),
        "get_device_name": lambda d: f"GPU {with_index(d)}",
        "mem_get_info": lambda d: (with_index(d) * 0 + 70 * memory.GIB, TOTAL),
        "memory_reserved": lambda d: with_index(d) * 0 + 8 * memory.GIB,
        "memory_allocated": lambda d: with_index(d) * 0 + 8 * memory.GIB,
        "max_memory_allocated": lambda d: with_index(d) * 0 + 9 * memory.GIB,
        "synchronize": lambda d: with_index(d),
        "is_bf16_supported": lambda *_: True,
        "_lazy_init": lambda: None,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    monkeypatch.setattr(torch.cuda.memory, "_lazy_init", lambda: None)
    for name, answer in (("_cuda_getMemoryFraction", 1.0), ("_cuda_setMemoryFraction", None)):
        monkeypatch.setattr(torch._C, name, lambda *_, a=answer: a, raising=False)


@pytest.mark.parametrize("given", [None, "", "-1", "NoDevFiles"])
def test_without_a_gpu_it_is_the_cpu(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert chosen_device() == torch.device("cpu")


def test_a_gpu_that_was_given_and_cannot_be_seen_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(UserError, match=r"given GPUs \(CUDA_VISIBLE_DEVICES=0\) and torch .* none"):
        chosen_device()
    monkeypatch.setenv("PRDIT_CPU", "1")
    assert chosen_device() == torch.device("cpu")
    assert "computing on the CPU, though CUDA_VISIBLE_DEVICES=0" in capsys.readouterr().err


def test_a_gpu_of_the_machine_that_cannot_be_used_is_told_but_for_one_that_is_hidden(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    card = tmp_path / "nvidia0"
    monkeypatch.setattr(Path, "glob", lambda *_: iter([card]))
    assert chosen_device() == torch.device("cpu")  # it may not be opened
    card.touch()
    with pytest.raises(UserError, match=r"nvidia0, and torch .* none: .*PRDIT_CPU=1"):
        chosen_device()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert chosen_device() == torch.device("cpu")


@pytest.mark.parametrize(
    ("asked", "kind"), [("1", "cpu"), ("0", "cuda"), ("False", "cuda"), ("", "cuda")]
)
def test_who_asks_for_the_cpu_gets_it_beside_a_gpu(
    asked: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch, 1)
    monkeypatch.setenv("PRDIT_CPU", asked)
    assert chosen_device().type == kind


def test_what_make_runs_asks_for_the_cpu() -> None:
    """The quickstart and the tests promise a CPU's numbers and times."""
    words = ["make", "-s", "--eval", "asked: ; @echo $$PRDIT_CPU", "asked"]
    assert subprocess.check_output(words, cwd=ROOT, text=True).strip() == "1"


# --- Every function that takes a device takes the one that is chosen ------------------------------


def calls(device: torch.device, folder: Path) -> dict[str, Callable[[], Any]]:
    """A call with a device of each function or class of the package that takes one."""
    volumes = open_store(store(folder))
    source = SampleRecipe(sampler=Sampler(k=2, steps=2), seed=0, first=0, count=1)
    return {
        "Feed": lambda: Feed(volumes, "train", device),
        "Pairs": lambda: Pairs(volumes, [volumes, volumes], "train", device),
        "Source": lambda: Source(source, folder / "weights", device, 1),
        "Processes": lambda: Processes(device),
        "device_name": lambda: device_name(device),
        "free_bytes": lambda: memory.free_bytes(device),
        "held_by_others": lambda: verdicts.held_by_others(device),
        "is_full": lambda: verdicts.is_full(device),
        "key_on": lambda: key_on(device, 0, "x"),
        "lift_limit": lambda: memory.lift_limit(device),
        "limit": lambda: memory.limit(0.5, device),
        "matrix_rate": lambda: rate.matrix_rate(device, torch.bfloat16),
        "peak_gib": lambda: memory.peak_gib(device),
        "random_square": lambda: rate.random_square(4, device, torch.bfloat16),
        "precision": lambda: precision("bfloat16", device)(),
        "product_rate": lambda: product_rate(device),
        "synchronise": lambda: rate.synchronise(device),
        "room": lambda: verdicts.room(device),
        "that_counts": lambda: verdicts.that_counts(device).__enter__(),
        "too_large": lambda: verdicts.too_large(torch.OutOfMemoryError("3 GiB"), device),
    }


def taking_a_device() -> set[str]:
    """Names of functions of the package with a parameter `device: torch.device`; of classes whose
    constructor has one."""
    found = set()
    for path in (ROOT / "prdit").rglob("*.py"):
        tree = ast.parse(path.read_text())
        owners = {
            node: owner.name
            for owner in ast.walk(tree)
            if isinstance(owner, ast.ClassDef)
            for node in owner.body
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                arguments = [*node.args.args, *node.args.kwonlyargs]
                if any(
                    a.arg == "device" and ast.unparse(a.annotation or a) == "torch.device"
                    for a in arguments
                ):
                    found.add(owners.get(node, node.name))
    return found


class NoGenerator:
    """In place of a GPU's, which a CPU build does not have."""

    def __init__(self, device: torch.device) -> None: ...

    def manual_seed(self, _: int) -> None: ...


def test_the_chosen_gpu_has_a_number_and_suits_all_who_take_a_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Memory fractions refuse a device without one, so no training on one GPU would begin."""
    with_gpus(monkeypatch, 1)
    device = chosen_device()
    assert device == torch.device("cuda", 0)
    made = calls(device, tmp_path)
    assert taking_a_device() - set(made) == set(), "call it above"
    monkeypatch.setattr(torch, "Generator", NoGenerator)
    monkeypatch.setattr(Feed, "_on_device", lambda _: None)
    for name, call in made.items():
        with FakeTensorMode(allow_non_fake_inputs=True):
            try:
                call()
            except Exception as error:
                raise AssertionError(f"{name} cannot bear {device}") from error


# --- A GPU for each of several jobs ---------------------------------------------------------------

HOLD = """
import sys, tempfile
from prdit.machine import device
tempfile.gettempdir = lambda: sys.argv[1]
print(device.first_free(sys.argv[2:]), flush=True)
sys.stdin.read()
"""


def test_jobs_beside_each_other_get_a_gpu_each(tmp_path: Path) -> None:
    """And a job that ends, however it does, leaves its GPU to the next."""

    def job() -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), "GPU-a", "GPU-b"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    jobs = [job() for _ in range(3)]
    try:
        assert [place for _, place in jobs] == ["0", "1", "None"]
        assert first_free(["GPU-b", "GPU-c"]) == 1
        jobs[1][0].kill()
        jobs[1][0].wait()
        jobs.append(job())
        assert jobs[-1][1] == "1"
    finally:
        for process, _ in jobs:
            process.kill()
            process.communicate()


def somebody_else_s(place: Path) -> None:
    """Its links could lead to files of this user."""
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    theirs = place / f"prdit-gpus-{os.getuid()}"
    theirs.mkdir()
    os.chown(theirs, 1, -1)


def a_file(place: Path) -> None:
    (place / f"prdit-gpus-{os.getuid()}").write_text("")


@pytest.mark.parametrize("spoilt", [somebody_else_s, a_file])
@pytest.mark.parametrize(("rank", "number"), [(None, 0), ("1", 1)])
def test_without_a_place_for_locks_processes_count_as_torchrun_does(
    spoilt: Callable[[Path], None],
    rank: str | None,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with_gpus(monkeypatch, 2)
    spoilt(tmp_path)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert chosen_device() == torch.device("cuda", number)
    assert reserved_gpu() == number
    assert not list(tmp_path.glob("*/*"))


def test_a_second_job_where_all_are_taken_shares_the_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_gpus(monkeypatch, 2)
    monkeypatch.setattr(devices, "first_free", lambda _: None)
    assert chosen_device() == torch.device("cuda", 0)
    assert "each of 2 GPUs" in capsys.readouterr().err
