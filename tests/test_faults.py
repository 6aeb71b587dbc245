"""Whatever ends a training early, the same command goes on, to the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stepping import ENTRY, arguments, command, history, lasting, trained

from prdit.config import PRDiT
from prdit.errors import Interrupted, UserError
from prdit.generators import weights
from prdit.machine.stop import Stop
from prdit.recipes import TrainRecipe
from prdit.training.adopt import SAME, same
from prdit.training.states import NAME

ROOT = Path(__file__).resolve().parents[1]
LARGER = {"patch": 6, "stride": 4}
"""States of 10 MB, so that writing one takes a while."""


def states(folder: Path) -> list[Path]:
    found = (folder / "states").glob("*/*.safetensors")
    return sorted(path for path in found if NAME.fullmatch(path.name))


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """stopped(folder, n, ...): a training that is asked to end after n steps."""

    def begin(folder: Path, steps: int, entry: PRDiT = ENTRY, **changes: Any) -> None:
        left = iter(range(steps - 1, -1, -1))
        with monkeypatch.context() as patched:
            patched.setattr(Stop, "asked", lambda _: next(left) == 0)
            with pytest.raises(Interrupted, match="goes on from it"):
                trained(folder, entry, **changes)

    return begin


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_for_a_report(folder: Path) -> None:
    for _ in range(600):
        if any(path.stat().st_size for path in folder.glob("states/*/log.jsonl")):
            return
        time.sleep(0.05)
    raise AssertionError("no step was taken")


# --- Going on -----------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 7, 15])
def test_stopped_and_gone_on_is_the_same_to_the_byte(
    steps: int, tmp_path: Path, stopped: Any
) -> None:
    whole = trained(tmp_path / "whole")
    stopped(tmp_path / "parts", steps)
    assert not (tmp_path / "parts" / "weights.safetensors").exists()
    assert trained(tmp_path / "parts").read_bytes() == whole.read_bytes()
    lines, again = history(tmp_path / "whole"), history(tmp_path / "parts")
    assert [line["step"] for line in lines] == [line["step"] for line in again]


def test_a_stage_2_goes_on_too_with_its_frozen_part(tmp_path: Path, stopped: Any) -> None:
    first = trained(tmp_path / "first")
    entry = PRDiT(**{**dict(ENTRY), "depth": 1, "start_from": "local"})
    whole = trained(tmp_path / "whole", entry, start_from=first)
    stopped(tmp_path / "parts", 5, entry, start_from=first)
    assert trained(tmp_path / "parts", entry, start_from=first).read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_killed_at_20_random_moments(tmp_path: Path) -> None:
    """kill -9 while starting, training and saving, which happens after every step."""
    found = {}
    entry = lasting(1000).model_copy(update=LARGER)
    for kills in (0, 20):
        folder = tmp_path / str(kills)
        told = arguments(folder, batch=4, save_every=0)
        del told["start_from"]
        told |= {"recipe": TrainRecipe(model=entry, size=8).model_dump(mode="json")}
        words = [sys.executable, "tests/killing.py", str(kills), "0", json.dumps(told, default=str)]
        environment = {**os.environ, "PYTHONPATH": "."}
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert json.loads(done.stdout)["status"] == 0, done.stderr
        assert json.loads(done.stdout)["killed"] == kills
        found[kills] = (folder / "weights.safetensors").read_bytes()
    assert found[0] == found[20]
    assert (tmp_path / "20" / "run.log").read_text().count("going on from") >= 10


DIES = """
import os, signal, sys
from pathlib import Path
from prdit.cli import main
write, replace, saves = Path.write_bytes, os.replace, []

def dying_write(path, content):
    saves.append(path)
    if len(saves) == 3:
        write(path, content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    return write(path, content)

def dying_replace(old, new):
    if len(saves) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(old, new)

{patch}
main(sys.argv[1:])
"""


@pytest.mark.parametrize("patch", ["Path.write_bytes = dying_write", "os.replace = dying_replace"])
def test_killed_inside_a_save(patch: str, tmp_path: Path) -> None:
    """Half of the third state is written, or all of it but under no name yet."""
    whole = trained(tmp_path / "whole")
    words = command(tmp_path / "parts", save_every=0)
    code = DIES.replace("{patch}", "Path.write_bytes = dying_write\n" + patch)
    if "replace" in patch:
        code = code.replace("if len(saves) == 3:\n        write", "if False:\n        write")
    done = subprocess.run([sys.executable, "-c", code, *words[3:]], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [int(path.name[:12]) for path in states(tmp_path / "parts")] == [4, 8]
    assert len(list((tmp_path / "parts").glob("states/*/.*.safetensors"))) == 1
    assert trained(tmp_path / "parts").read_bytes() == whole.read_bytes()
    assert not list((tmp_path / "parts").glob("states/*/.*.safetensors"))


# --- Damage -------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(content)


def flip_header(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[3] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, flip_header], ids=["cut", "flipped", "header"])
@pytest.mark.parametrize("how_many", [1, 2])
def test_a_damaged_state_is_passed_over(
    damage: Any, how_many: int, tmp_path: Path, stopped: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = trained(tmp_path / "whole")
    folder = tmp_path / "parts"
    stopped(folder, 9, save_every=0)
    assert [int(path.name[:12]) for path in states(folder)] == [32, 36]
    for path in states(folder)[-how_many:]:
        damage(path)
    capsys.readouterr()
    assert trained(folder).read_bytes() == whole.read_bytes()
    said = capsys.readouterr().err
    assert said.count("is damaged; looking for the state before it") == how_many
    assert ("going on from 32 volumes" in said) == (how_many == 1)
    assert ("is whole; beginning anew" in said) == (how_many == 2)


def test_damaged_states_never_push_out_good_ones(tmp_path: Path, stopped: Any) -> None:
    """They stand higher in the order than what is saved after beginning anew."""
    whole = trained(tmp_path / "whole")
    folder = tmp_path / "parts"
    stopped(folder, 12, save_every=0)
    for path in states(folder):
        flip(path)
    stopped(folder, 6, save_every=0)
    assert [int(path.name[:12]) for path in states(folder)] == [20, 24]
    assert trained(folder).read_bytes() == whole.read_bytes()
    flip(states(folder)[0])
    assert trained(folder).read_bytes() == whole.read_bytes()
    (left,) = states(folder)
    assert int(left.name[:12]) == 64


def test_a_state_that_does_not_fit_is_said(tmp_path: Path, stopped: Any) -> None:
    stopped(tmp_path / "a", 4)
    stopped(tmp_path / "b", 4, ENTRY.model_copy(update=LARGER))
    (mine,), (its,) = states(tmp_path / "a"), states(tmp_path / "b")
    (mine.parent / its.name.replace("16-", "20-")).write_bytes(its.read_bytes())
    with pytest.raises(UserError, match=r"a state does not fit the model of .*; move it away"):
        trained(tmp_path / "a")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_said_and_costs_no_state(
    small_disk: Path, tmp_path: Path, stopped: Any
) -> None:
    entry = ENTRY.model_copy(update=LARGER)
    whole = trained(tmp_path / "whole", entry)
    folder = small_disk / "parts"
    stopped(folder, 4, entry)
    (before,) = states(folder)
    content = before.read_bytes()
    filler = small_disk / "filler"
    filler.write_bytes(bytes(64 * 2**20 - 2 * len(content) - 2**20))
    with pytest.raises(UserError, match=r"cannot write .*: No space left on device; free or"):
        trained(folder, entry, save_every=0)
    (*_, left) = states(folder)
    assert not list(folder.glob("states/*/.*.safetensors"))
    filler.unlink()
    assert before.exists() or left.exists()
    assert trained(folder, entry).read_bytes() == whole.read_bytes()


# --- Signals and limits -------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_saves_and_exits_with_75(number: signal.Signals, tmp_path: Path) -> None:
    entry = lasting(2000)
    running = start(command(tmp_path / "parts", entry))
    wait_for_a_report(tmp_path / "parts")
    running.send_signal(number)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 75, said
    assert f"prdit train: stopped by {number.name} at " in said
    assert "Traceback" not in said
    assert len(states(tmp_path / "parts")) == 1
    whole = trained(tmp_path / "whole", entry)
    assert trained(tmp_path / "parts", entry).read_bytes() == whole.read_bytes()


def test_a_time_limit_is_kept(tmp_path: Path) -> None:
    entry = lasting(400_000)
    begun = time.monotonic()
    done = subprocess.run(
        command(tmp_path / "parts", entry, time_limit=0.1),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 75
    assert "stopped by the time limit at" in done.stderr
    assert time.monotonic() - begun < 30  # the limit is 6 s; importing torch comes before it
    assert len(states(tmp_path / "parts")) == 1


# --- Other trainings ----------------------------------------------------------------------------


def test_a_state_of_another_recipe_is_refused_and_the_difference_said(
    tmp_path: Path, stopped: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(tmp_path / "a", 8)
    other = lasting(64, learning_rate=1e-3)
    fresh = trained(tmp_path / "b", other)
    capsys.readouterr()
    assert trained(tmp_path / "a", other).read_bytes() == fresh.read_bytes()
    said = capsys.readouterr().err
    assert "got to 32 volumes, but is not this one:" in said
    assert "recipe.model.training.learning_rate: 0.003 there, 0.001 here" in said
    assert "--adopt" in said


def test_it_is_taken_over_if_asked_for(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", lasting(96))
    trained(tmp_path / "longer", lasting(64))
    key = json.loads((tmp_path / "longer" / "run.json").read_text())["key"]
    longer = trained(tmp_path / "longer", lasting(96), adopt=key[:6])
    mine, its = (weights.load(path)[0].network.state_dict() for path in (longer, whole))
    assert all(mine[name].equal(its[name]) for name in mine)
    record = json.loads((tmp_path / "longer" / "run.json").read_text())
    assert (record["adopted"]["key"], record["adopted"]["volumes"]) == (key, 64)
    for odd in ("ffff", ""):
        with pytest.raises(UserError, match=r"0 other trainings in .* have a key that begins"):
            trained(tmp_path / "longer", lasting(128), adopt=odd)
    with pytest.raises(UserError, match=r"got to 96 volumes, which is no step of this training"):
        trained(tmp_path / "longer", lasting(32), adopt=record["key"])
    wider = lasting(128).model_copy(update=LARGER)
    with pytest.raises(UserError, match=r"a state does not fit the model"):
        trained(tmp_path / "longer", wider, adopt=record["key"])
    wider_alone = trained(tmp_path / "longer", wider).read_bytes()  # nothing was left behind
    assert wider_alone == trained(tmp_path / "wider", wider).read_bytes()


def test_undoing_an_edit_costs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = trained(tmp_path, code="old").read_bytes()
    trained(tmp_path, lasting(80), code="old")
    (tmp_path / "weights.safetensors").unlink()  # as Snakemake does
    capsys.readouterr()
    assert trained(tmp_path, code="old").read_bytes() == first
    assert '"step"' not in capsys.readouterr().err  # none was taken


def test_code_that_does_the_same_takes_over_a_training_if_that_is_proven(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained(tmp_path, code="old").read_bytes()
    capsys.readouterr()
    assert trained(tmp_path, code="new", adopt="proven").read_bytes() == first
    said = capsys.readouterr().err
    assert "is taken over, which differs:\n  code: old there, new here" in said
    monkeypatch.setattr("prdit.generators.prdit.losses", twice_the_loss)
    assert trained(tmp_path, code="newer", adopt="proven").read_bytes() != first
    said = capsys.readouterr().err
    assert said.count("is not taken over: at step 1 its loss was 1.6385, by the present code") == 2
    trained(tmp_path, lasting(80), adopt="proven")  # where there is none, it trains as ever


def test_one_that_got_further_is_taken_over_even_late(tmp_path: Path, stopped: Any) -> None:
    whole = trained(tmp_path, code="old").read_bytes()
    stopped(tmp_path, 3, code="new")
    assert trained(tmp_path, code="new", adopt="proven").read_bytes() == whole
    assert json.loads((tmp_path / "run.json").read_text())["adopted"]["volumes"] == 64


def twice_the_loss(estimate: Any, eps: Any, x0: Any) -> Any:
    from prdit.diffusion.process import losses

    found = losses(estimate, eps, x0)
    return {**found, "loss": 2 * found["loss"]}


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    running = start(command(tmp_path / "a", lasting(400_000)))
    wait_for_a_report(tmp_path / "a")
    with pytest.raises(UserError, match="another process is at this training"):
        trained(tmp_path / "a", lasting(400_000))
    running.kill()
    running.communicate()


def test_adoption_bears_the_rounding_of_the_device() -> None:
    """In bfloat16, whose sums come in any order, a thousandth says nothing about the code."""
    logged = {"loss": 1.5, "gradient": 0.2}
    near, far = ({name: value * by for name, value in logged.items()} for by in (1.0005, 1.03))
    assert not same(near, logged, SAME["cpu"])
    assert same(near, logged, SAME["cuda"])
    assert not same(far, logged, SAME["cuda"])
