"""One update, however it is split; steps that are skipped; generators that the loop never saw."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from stepping import ALONE, ENTRY, command, history, lasting, step, store, trained
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from prdit.config import PRDiT, Training
from prdit.data.store import open_store
from prdit.errors import Interrupted, OutOfMemory, UserError
from prdit.generators.base import Draw, Generator, Update
from prdit.generators.prdit import PRDiTGenerator
from prdit.machine.journal import Journal
from prdit.machine.stop import Stop
from prdit.training.feed import Feed
from prdit.training.loop import train
from prdit.training.state import State
from prdit.training.states import States
from prdit.training.update import Updates
from prdit.training.validation import validate

ROOT = Path(__file__).resolve().parents[1]
TRAINING = Training(volumes=40, batch=4, learning_rate=0.05, ema=0.5)


# --- The same update, however it is split ---------------------------------------------------------


@given(micro=st.integers(1, 7), batch=st.integers(1, 7), seed=st.integers(0, 99))
@settings(max_examples=10, derandomize=True, database=None, deadline=None)
def test_micro_batches_change_an_update_by_rounding_alone(
    micro: int, batch: int, seed: int
) -> None:
    x0 = torch.randn(batch, 1, 8, 8, 8, generator=torch.Generator().manual_seed(seed))
    found, weights = [], []
    for size in (batch, micro):
        generator = PRDiTGenerator(ENTRY, 8)
        generator.optimizers()
        found.append(step(generator, x0, torch.arange(batch), ENTRY.training, micro_batch=size))
        weights.append(nn.utils.parameters_to_vector(generator.network.parameters()))
    for name, value in found[0].items():
        assert float(found[1][name]) == pytest.approx(float(value), rel=1e-5)
    # Adam's first step is the learning rate times the sign: compare where gradients are no noise.
    assert (weights[0] - weights[1]).abs().median() < 1e-7


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    """By torchrun with gloo: the same data and noise, weights equal within float rounding."""
    whole = load_file(trained(tmp_path / "one"))
    words = command(tmp_path / "two", processes=2, threads=2)
    done = subprocess.run(words, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shared = load_file(tmp_path / "two" / "weights.safetensors")
    assert max(float((whole[name] - shared[name]).abs().max()) for name in whole) < 2e-5
    mine, its = (history(tmp_path / name) for name in ("one", "two"))
    assert [a["loss"] for a in mine] == pytest.approx([b["loss"] for b in its], rel=1e-4)
    assert json.loads((tmp_path / "two" / "run.json").read_text())["processes"] == 2


def test_a_process_that_dies_ends_the_job_and_leaves_a_good_state(tmp_path: Path) -> None:
    entry = lasting(2000)
    words = command(tmp_path / "a", entry, processes=2, threads=2, save_every=0)
    torchrun = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    for _ in range(900):
        if list(tmp_path.glob("a/states/*/*.safetensors")):
            break
        time.sleep(0.05)
    workers = psutil.Process(torchrun.pid).children()
    assert len(workers) == 2
    workers[1].kill()
    died = time.monotonic()
    _, said = torchrun.communicate(timeout=120)
    assert torchrun.returncode != 0
    assert time.monotonic() - died < 30
    assert "Signal 9 (SIGKILL) received by PID" in said
    assert trained(tmp_path / "a", entry).is_file()
    assert history(tmp_path / "a")[-1]["volumes"] == 2000


# --- Steps that are not finite --------------------------------------------------------------------


class Cubes(Generator):
    """Learns the mean of volumes; can be told to fail at some steps."""

    def __init__(self, make: Callable[..., Optimizer] = AdamW, **about: Any) -> None:
        self.network = nn.Linear(1, 1)
        nn.init.zeros_(self.network.weight)
        nn.init.zeros_(self.network.bias)
        self.make, self.about, self.broken = make, about, set[int]()

    def start_from(self, trained: Generator) -> None:
        self.network.load_state_dict(trained.network.state_dict())

    def optimizers(self) -> list[Optimizer]:
        self.optimizer = self.make(self.network.parameters(), lr=0.05, **self.about)
        return [self.optimizer]

    def step(self, update: Update) -> dict[str, Tensor]:
        return update(self.optimizer, self.losses)

    def losses(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        scale = float("nan") if int(index[0]) in self.broken else 1.0
        mean = x0.mean(dim=(1, 2, 3, 4)).unsqueeze(1)
        return {"loss": scale * (self.network(mean) - mean).square().mean()}

    def drawing(self, sampler: Any) -> Draw:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("make", "about"), [(AdamW, {"fused": True}), (AdamW, {}), (SGD, {"momentum": 0.9})]
)
def test_a_step_that_is_not_finite_changes_nothing(make: Any, about: dict[str, Any]) -> None:
    generator = Cubes(make, **about)
    generator.optimizers()
    x0 = torch.ones(2, 1, 4, 4, 4)
    step(generator, x0, torch.arange(2), TRAINING)
    before = json.dumps([p.tolist() for p in generator.network.parameters()])
    moments = str(generator.optimizer.state_dict()["state"])
    generator.broken = {2}
    found = step(generator, x0, torch.arange(2, 4), TRAINING)
    assert not found["gradient"].isfinite()
    assert json.dumps([p.tolist() for p in generator.network.parameters()]) == before
    assert str(generator.optimizer.state_dict()["state"]) == moments


def whole_training(
    folder: Path, generator: Generator, training: Training, save_every: float = 600
) -> State:
    """A generator that no config knows, trained by the loop on the tiny store."""
    folder.mkdir(exist_ok=True)
    opened = open_store(store(folder))
    state = State(generator, training)
    states = States(folder / "states", {"of": type(generator).__name__}, lambda _: None)
    states.open()
    states.resume(state)
    about = {"volumes": state.volumes, "seconds": 0.0, "total": training.volumes}
    feed, held_out = (Feed(opened, part, ALONE.device) for part in ("train", "held-out"))
    train(
        generator,
        state,
        training,
        feed=feed,
        held_out=held_out,
        updates=Updates(ALONE, training, 2),
        journal=Journal(folder / "log.jsonl", ALONE, **about, flop=1.0, peak=1e9),
        states=states,
        save_every=save_every,
        stop=Stop(),
    )
    return state


def test_skipped_steps_are_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    generator = Cubes()
    generator.broken = {4, 8, 28}
    state = whole_training(tmp_path, generator, TRAINING)
    assert state.skipped == 3
    assert all(p.isfinite().all() for p in generator.network.parameters())
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["skipped_steps"] == 3


def test_too_many_in_a_row_stop_the_training_with_a_good_state(tmp_path: Path) -> None:
    generator, training = Cubes(), TRAINING.model_copy(update={"max_skipped": 3})
    generator.broken = {20, 24, 28}
    with pytest.raises(
        UserError, match=r"3 steps in a row up to volume 32 .*; lower learning_rate"
    ):
        whole_training(tmp_path, generator, training, save_every=0)
    kept = Cubes()
    state = State(kept, training)
    states = States(tmp_path / "states", {"of": "Cubes"}, lambda _: None)
    states.resume(state)
    assert 20 <= state.volumes < 32
    assert all(p.isfinite().all() for p in kept.network.parameters())
    generator.broken = {20, 28}
    whole_training(tmp_path, generator, training)


# --- Out of memory --------------------------------------------------------------------------------


class Hungry(Cubes):
    """Cannot hold more than `most` volumes at a time."""

    most = 2

    def losses(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        if len(x0) > self.most:
            torch.empty(2**60)  # torch's own error, from its own allocator
        return super().losses(x0, index)


def test_a_batch_that_does_not_fit_is_split_further() -> None:
    hungry, plain = Hungry(), Cubes()
    x0 = torch.randn(7, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    for generator in (hungry, plain):
        generator.optimizers()
        step(generator, x0, torch.arange(7), TRAINING)
    for mine, its in zip(hungry.network.parameters(), plain.network.parameters(), strict=True):
        assert torch.allclose(mine, its)
    hungry.most = 0
    with pytest.raises(OutOfMemory, match=r"MiB"):
        step(hungry, x0, torch.arange(7), TRAINING)


def test_what_fitted_before_is_not_too_large() -> None:
    """Something else takes the memory: no row of a table may say that the model lacks it."""
    hungry, updates = Hungry(), Updates(ALONE, TRAINING, 4)
    hungry.optimizers()
    updates.batch(torch.zeros(4, 1, 4, 4, 4), torch.arange(4), 4)
    hungry.step(updates)
    hungry.most = 0
    with pytest.raises(UserError, match="though steps before it fitted"):
        hungry.step(updates)


def test_a_model_that_is_too_large_is_a_result(tmp_path: Path) -> None:
    """Caught from the allocator under a limit of 1 GiB; anything else is an error as ever."""
    entry = PRDiT(**{**dict(lasting(64, memory_gib=1.0)), "patch": 16, "stride": 8})
    done = subprocess.run(
        command(tmp_path / "a", entry), cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "a" / "run.json").read_text())
    assert record["status"] == "oom"
    assert record["asked_for"].endswith(" MiB")
    from prdit.generators import weights

    with pytest.raises(OutOfMemory, match="MiB"):
        weights.load(tmp_path / "a" / "weights.safetensors")


def test_a_lack_of_memory_beside_the_model_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gathering a batch, say, before any state is saved: an error, and no row of a table."""

    def short(*_: object, **__: object) -> None:
        torch.empty(2**60)

    monkeypatch.setattr("prdit.training.attempt.train", short)
    with pytest.raises(RuntimeError, match="allocate"):
        trained(tmp_path)
    assert not (tmp_path / "run.json").exists()
    assert not (tmp_path / "weights.safetensors").exists()


def test_matrix_products_are_not_counted_where_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counting runs nothing compiled, so that a model may fit that could not be counted."""

    def short(*_: object) -> None:
        torch.empty(2**60)

    monkeypatch.setattr("prdit.training.attempt.flop_per_volume", short)
    trained(tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "ok"
    assert {entry["utilisation"] for entry in history(tmp_path)} == {None}


class HeldOut:
    """Five volumes, of the values 0 to 4."""

    device = ALONE.device

    def __len__(self) -> int:
        return 5

    def __call__(self, chosen: Tensor, upcoming: Tensor | None = None) -> Tensor:
        return chosen.float().reshape(-1, 1, 1, 1, 1).expand(-1, 1, 2, 2, 2)


def test_a_validation_that_does_not_fit_is_split_further() -> None:
    class Careful(Cubes):
        def validation(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
            sizes.append(len(x0))
            if len(x0) > most:
                torch.empty(2**60)
            return {"loss": x0.mean()}

    sizes: list[int] = []
    most = 2
    found = validate(Careful(), HeldOut(), Updates(ALONE, TRAINING, 16))
    assert found == {"validation_loss": pytest.approx(2.0)}
    assert sizes == [5, 5, 4, 2, 2, 1]  # asked for 16, 8, 4 at a time, then 2
    most = 0
    with pytest.raises(RuntimeError, match="allocate"):
        validate(Careful(), HeldOut(), Updates(ALONE, TRAINING, 16))


def test_a_lack_of_memory_in_a_training_that_works_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something else takes it; the state is kept."""
    left = iter([False, False, True])
    with monkeypatch.context() as patched:
        patched.setattr(Stop, "asked", lambda _: next(left))
        with pytest.raises(Interrupted):
            trained(tmp_path)

    def short(*_: object, **__: object) -> None:
        torch.empty(2**60)

    with monkeypatch.context() as patched:
        patched.setattr("prdit.training.attempt.Feed", short)
        with pytest.raises(UserError, match=r"out of memory .* that had got to 12 volumes: some"):
            trained(tmp_path)
    assert not (tmp_path / "run.json").exists()
    assert trained(tmp_path).is_file()


def test_an_error_that_is_no_lack_of_memory_is_not_taken_for_one(tmp_path: Path) -> None:
    class Broken(Cubes):
        def losses(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
            raise RuntimeError("the memory of what I did wrong")

    with pytest.raises(RuntimeError, match="what I did wrong"):
        whole_training(tmp_path, Broken(), TRAINING)


# --- Generators that the loop never saw -----------------------------------------------------------


class FourPlayers(Generator):
    """An adversarial generator in small: four parts, each with its own optimizer and loss."""

    def __init__(self) -> None:
        names = ("encoder", "generator", "critic", "sub_critic")
        self.network = nn.ModuleDict({name: nn.Linear(1, 1) for name in names})
        for number, parameter in enumerate(self.network.parameters()):
            nn.init.constant_(parameter, 0.1 * (number + 1))

    def start_from(self, trained: Generator) -> None:
        raise NotImplementedError

    def optimizers(self) -> list[Optimizer]:
        rates = {"encoder": 1e-2, "generator": 1e-2, "critic": 4e-2, "sub_critic": 4e-2}
        self.by_name = {
            name: AdamW(self.network[name].parameters(), lr=rate, betas=(0.0, 0.999), fused=True)
            for name, rate in rates.items()
        }
        return list(self.by_name.values())

    def step(self, update: Update) -> dict[str, Tensor]:
        found = {
            name: update(optimizer, getattr(self, name))["loss"]
            for name, optimizer in self.by_name.items()
        }
        return {**found, "loss": found["generator"]}

    def made(self, x0: Tensor) -> Tensor:
        code = self.network["encoder"](x0.mean(dim=(1, 2, 3, 4)).unsqueeze(1))
        return self.network["generator"](code)

    def encoder(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        return {"loss": (self.made(x0) - x0.mean(dim=(1, 2, 3, 4)).unsqueeze(1)).square().mean()}

    def generator(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        return {"loss": -self.network["critic"](self.made(x0)).mean()}

    def critic(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        return self.gap("critic", x0)

    def sub_critic(self, x0: Tensor, index: Tensor) -> dict[str, Tensor]:
        return self.gap("sub_critic", x0)

    def gap(self, name: str, x0: Tensor) -> dict[str, Tensor]:
        critic, mean = self.network[name], x0.mean(dim=(1, 2, 3, 4)).unsqueeze(1)
        return {"loss": (critic(self.made(x0).detach()) - critic(mean)).square().mean()}

    def drawing(self, sampler: Any) -> Draw:
        raise NotImplementedError


def test_four_optimizers_stop_and_go_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = whole_training(tmp_path / "whole", FourPlayers(), TRAINING)
    left = iter([False] * 4 + [True])
    with monkeypatch.context() as patched:
        patched.setattr(Stop, "asked", lambda _: next(left))
        with pytest.raises(Exception, match="stopped by"):
            whole_training(tmp_path / "parts", FourPlayers(), TRAINING)
    parts = whole_training(tmp_path / "parts", FourPlayers(), TRAINING)
    mine, its = whole.tensors(), parts.tensors()
    assert all(torch.equal(mine[name], its[name]) for name in mine if name != "seconds")
    assert {name.split(".")[1] for name in mine if name.startswith("optimizer.")} == set("0123")
    rates = [optimizer.param_groups[0]["lr"] for optimizer in parts.optimizers]
    assert rates == [1e-2, 1e-2, 4e-2, 4e-2]


def test_two_phases_are_two_trainings_of_which_one_starts_from_the_other(tmp_path: Path) -> None:
    """As an autoencoder before its latent diffusion: the first is frozen in the second."""

    class First(Cubes):
        """Phase 1."""

    class Second(Cubes):
        def start_from(self, trained: Generator) -> None:
            self.network = nn.Sequential(trained.network, nn.Linear(1, 1)).requires_grad_(True)
            self.network[0].requires_grad_(False)

        def optimizers(self) -> list[Optimizer]:
            self.optimizer = self.make(self.network[1].parameters(), lr=0.05)
            return [self.optimizer]

    first, second = First(), Second()
    whole_training(tmp_path / "first", first, TRAINING)
    before = first.network.weight.clone()
    second.start_from(first)
    state = whole_training(tmp_path / "second", second, TRAINING)
    assert torch.equal(second.network[0].weight, before)
    assert state.average.names == ["1.weight", "1.bias"]


# --- Precision ------------------------------------------------------------------------------------


def test_bfloat16_computes_in_bfloat16_and_keeps_the_rest_in_float32() -> None:
    """On a CPU for once, where a training would compute in float32."""
    found = {}
    for name, context in (("float32", nullcontext), ("bfloat16", mixed)):
        generator = PRDiTGenerator(ENTRY, 8)
        optimizer = generator.optimizers()[0]
        updates = Updates(ALONE, ENTRY.training, 8)
        updates.precision = context
        for number in range(4):
            x0 = torch.randn(4, 1, 8, 8, 8, generator=torch.Generator().manual_seed(number))
            updates.batch(x0, torch.arange(4) + 4 * number, 4)
            found[name] = float(generator.step(updates)["loss"])
        for parameter in generator.network.parameters():
            assert parameter.dtype == torch.float32
            assert optimizer.state[parameter]["exp_avg"].dtype == torch.float32
    assert found["bfloat16"] != found["float32"]
    assert found["bfloat16"] == pytest.approx(found["float32"], rel=0.02)


def mixed() -> Any:
    return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.slow
def test_compiled_blocks_compute_the_same() -> None:
    """What a GPU trains with, compiled for the CPU."""
    entry = PRDiT(**{**dict(ENTRY), "depth": 2, "start_from": "local"})
    x, t = torch.randn(2, 1, 8, 8, 8), torch.tensor([30.0, 700.0])
    found = []
    for compiled in (False, True):
        generator = PRDiTGenerator(entry, 8)
        if compiled:
            generator.compile()
        found.append(generator.network(x, t))
        names = set(generator.network.state_dict())
        assert not [name for name in names if "_orig_mod" in name]
    for mine, its in zip(*found, strict=True):
        assert torch.allclose(mine, its, atol=1e-5)


# --- The feed -------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 2**28])
@pytest.mark.parametrize("resident", [True, False])
def test_volumes_come_as_they_are_stored(
    resident: bool, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they go to the device in chunks of one."""
    monkeypatch.setattr("prdit.training.feed.CHUNK", chunk)
    opened = open_store(store(tmp_path))
    feed = Feed(opened, "train", ALONE.device, resident=resident)
    found = feed(torch.tensor([1, 0, 1]))
    assert found.shape == (3, 1, 8, 8, 8)
    assert torch.equal(found[0, 0], torch.from_numpy(opened.volume(1)))
    assert torch.equal(found[1, 0], torch.from_numpy(opened.volume(0)))
