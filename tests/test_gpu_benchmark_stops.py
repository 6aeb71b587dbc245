"""`benchmarks/gpu.py` where it is stopped, refused, or meets what earlier runs left."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
FINE = "def run(case, lines):\n    lines.at_most('a number', 1.0, 2.0)\n"
SLEEPS = """
import os, subprocess, sys, time
def run(case, lines):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (case.out / "pids").write_text(f"{os.getpid()} {child.pid}")
    (case.out / "pids").rename(case.out / "begun")
    time.sleep(600)
"""
SCRIPT = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.SIG_DFL)  # which the tests may have been started without
sys.path.insert(0, "benchmarks")
import gpu
from gpu_stages import Stage
from gpu_stages.runner import Order
stages = [Stage(name, name, 1) for name in sys.argv[2:]]
raise SystemExit(gpu.said_how_it_ended(Order(stages, True, Path(sys.argv[1]), "cpu", 5.0)))
"""
"""As the command does it, with stages of a test."""
CARD = {"card": "NVIDIA H100; torch 2.11, CUDA 13.0", "code": "abc", "golden": ""}


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    module = importlib.import_module("gpu_stages.runner")
    monkeypatch.setattr(module, "card", lambda _: module.REHEARSAL)
    return module


def gpu(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/gpu.py", "--device", "cpu", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def begun(folder: Path, **modules: str) -> subprocess.Popen[str]:
    """A run with stages that are given as source text."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    words = [sys.executable, "-c", SCRIPT, str(folder / "out"), *modules]
    env = {**os.environ, "PYTHONPATH": str(folder)}
    pipe = subprocess.PIPE
    return subprocess.Popen(words, cwd=ROOT, env=env, stdout=pipe, stderr=pipe, text=True)


def carried_out(runner: ModuleType, folder: Path, minutes: float = 5.0) -> dict[str, Any]:
    from gpu_stages import Stage

    (folder / "fine.py").write_text(FINE)
    order = runner.Order([Stage("fine", "fine", 1)], True, folder / "out", "cpu", minutes)
    runner.carry_out(order)
    found: dict[str, Any] = json.loads((folder / "out" / "gpu.json").read_text())
    return found


def wait_for(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    stat = Path("/proc", str(pid), "stat")
    return stat.exists() and stat.read_text().split(")")[1].split()[0] != "Z"


def test_what_is_not_begun_leaves_what_was_found(
    runner: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = carried_out(runner, tmp_path)
    monkeypatch.setattr(runner, "code", lambda: "another")
    after = carried_out(runner, tmp_path, minutes=0.001)
    assert after["stages"] == before["stages"]
    told = capsys.readouterr().out
    assert "what other code or another card found stays" in told
    assert "of other code or another card, and not counted: fine" in told
    assert "| fine (of other code, or another card) |" in (tmp_path / "out/gpu.md").read_text()


def test_what_has_nothing_yet_says_that_it_is_not_begun(runner: ModuleType, tmp_path: Path) -> None:
    found = carried_out(runner, tmp_path, minutes=0.001)
    assert [line["result"] for line in found["stages"]["fine"]["lines"]] == ["SKIP"]
    found = carried_out(runner, tmp_path)
    assert [line["result"] for line in found["stages"]["fine"]["lines"]] == ["PASS"]


def test_a_rehearsal_leaves_the_findings_of_a_card(runner: ModuleType, tmp_path: Path) -> None:
    import gpu as command
    from gpu_stages.stops import Refused

    assert command.FOLDERS["cpu"] != command.FOLDERS["cuda"]
    (tmp_path / "out").mkdir()
    told = {"key": "x", "seconds": 1.0, "ended": "whole", "lines": []}
    text = json.dumps({"about": CARD, "stages": {"fine": told}})
    (tmp_path / "out/gpu.json").write_text(text)
    with pytest.raises(Refused, match="NVIDIA H100"):
        carried_out(runner, tmp_path)
    assert (tmp_path / "out/gpu.json").read_text() == text


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        '{"stages": {"fi',
        '{"stages": {"site": 3}}',
        '{"stages": {"parity": {"key": "x"}}}',
        json.dumps({"about": CARD, "stages": {"site": 3}}),
        json.dumps({"about": CARD, "stages": {"parity": {"key": "x"}}}),
        "\xff\x00",
    ],
)
def test_a_damaged_file_is_put_aside(
    runner: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/gpu.json.damaged").write_text("an earlier one")
    (tmp_path / "out/gpu.json").write_text(text, encoding="latin-1")
    found = carried_out(runner, tmp_path, minutes=0.001)
    assert list(found["stages"]) == ["fine"]
    assert "gpu.json.damaged2 now" in capsys.readouterr().out
    assert (tmp_path / "out/gpu.json.damaged").read_text() == "an earlier one"
    assert (tmp_path / "out/gpu.json.damaged2").read_text(encoding="latin-1") == text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_that_was_started(tmp_path: Path, number: signal.Signals) -> None:
    """And meanwhile nobody else uses the folder."""
    run = begun(tmp_path, sleeps=SLEEPS)
    wait_for(tmp_path / "out/begun")
    if number == signal.SIGTERM:
        other = gpu("--out", str(tmp_path / "out"))
        assert other.returncode == 2
        assert other.stderr.startswith("another run uses ")
        assert len(other.stderr.splitlines()) == 1
    run.send_signal(number)
    said = run.communicate(timeout=30)[1]
    assert run.returncode == 128 + number
    assert said == f"\nstopped by {number.name}; the same command goes on where it was\n"
    assert not any(runs(int(pid)) for pid in (tmp_path / "out/begun").read_text().split())


def test_that_nobody_reads_is_no_failure(tmp_path: Path) -> None:
    run = begun(tmp_path, fine=FINE, more=FINE)
    assert run.stdout
    assert run.stdout.readline() == "fine: begins\n"
    run.stdout.close()
    assert run.stderr
    said = run.stderr.read()
    assert run.wait(60) == 0, said
    assert "Traceback" not in said
    found = json.loads((tmp_path / "out/gpu.json").read_text())["stages"]
    lines = [line for told in found.values() for line in told["lines"]]
    assert [line["result"] for line in lines] == ["PASS", "PASS"]


def test_a_failure_carries_its_reason(tmp_path: Path) -> None:
    run = begun(tmp_path, broken="raise ImportError('no such library')")
    said = run.communicate(timeout=60)[0]
    assert run.returncode == 1
    assert "\nfailed: broken runs: ImportError: no such library (exit status 1)\n" in said


@pytest.mark.parametrize("out", ["/proc/x", "/dev/null", "file", "file/below", "work_is_a_file"])
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "work_is_a_file").mkdir()
    (tmp_path / "work_is_a_file/work").write_text("")
    done = gpu("--out", str(tmp_path / out))
    assert done.returncode == 2
    assert done.stderr.startswith(f"nothing can be kept in {tmp_path / out}: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--minutes", "0"], "0 is no positive number"),
        (["--minutes", "-3"], "-3 is no positive number"),
        (["--minutes", "nan"], "nan is no positive number"),
        (["--golden", "/nonexistent"], "--golden /nonexistent: there is no such folder"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, words: list[str], said: str) -> None:
    done = gpu("--out", str(tmp_path / "out"), *words)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_hidden_card_is_named(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    order = runner.Order([], False, tmp_path, "cuda", 5.0)
    with pytest.raises(SystemExit, match="CUDA_VISIBLE_DEVICES=-1 hides every card") as stop:
        runner.card(order)
    assert sys.executable in str(stop.value)


@pytest.mark.parametrize(
    ("asked", "there", "said"),
    [
        ("icc", {"gcc"}, "none: there is no icc, which CC names"),
        ("cc", {"cc"}, "cc"),
        (None, {"cc"}, "neither gcc nor clang, only cc: `export CC=cc`"),
        (None, {"clang"}, "clang"),
    ],
)
@pytest.mark.usefixtures("runner")
def test_the_compiler_is_the_one_of_triton(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str | None, there: set[str], said: str
) -> None:
    from gpu_stages import site
    from gpu_stages.lines import Lines, read

    monkeypatch.setattr(site.shutil, "which", lambda name: name if name in there else None)
    monkeypatch.delenv("CC", raising=False)
    if asked:
        monkeypatch.setenv("CC", asked)
    site.tools(Lines(tmp_path / "lines"))
    line = read(tmp_path / "lines")[0]
    assert line["value"] == said
    assert line["result"] == ("PASS" if said in there else "FAIL")
