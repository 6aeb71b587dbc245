"""The benchmarks run, and tell of both ways."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_benchmark_compares_two_loops(tmp_path: Path) -> None:
    words = "--config config/quickstart.yaml --model PRDiT-4L --depth 1 --size 16 --batch 2"
    short = f"--micro-batch 1 --steps 1 --repeats 2 --json {tmp_path / 'found.json'}"
    done = subprocess.run(
        [sys.executable, "benchmarks/train.py", *words.split(), *short.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["entry"]["depth"] == 1
    for loop in ("prdit", "plain"):
        assert f"{loop} (" in done.stdout
        for name in ("volumes_per_second", "share", "peak_gib"):
            assert found[loop][name] > 0
    assert "ratio of prdit to plain" in done.stdout
    assert found["ratio"] > 0
    assert len(found["ratios"]) == 2


def test_the_benchmark_of_samples_compares_two_ways(tmp_path: Path) -> None:
    words = "--config config/quickstart.yaml --model PRDiT-4L --depth 1 --size 16 --steps 3"
    done = subprocess.run(
        [
            *[sys.executable, "benchmarks/sample.py", *words.split(), "--repeats", "2"],
            *["--json", str(tmp_path / "found.json")],
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads((tmp_path / "found.json").read_text())
    for way in ("prdit", "plain"):
        for name in ("mean", "std", "ms_per_step", "share", "peak_gib"):
            assert found[way][name] > 0
    assert found["ratio"] > 0
    assert "times as long" in done.stdout


def test_the_benchmark_of_preprocessing_compares_two_ways(tmp_path: Path) -> None:
    words = "--slices 12 --edge 48 --pairs 2 --json"
    done = subprocess.run(
        [sys.executable, "benchmarks/preprocess.py", *words.split(), str(tmp_path / "found.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["ratio"] > 0
    assert "times as long" in done.stdout


def test_the_benchmark_of_metrics_compares_two_ways() -> None:
    words = "--volumes 40 --features 16 --repeats 1"
    done = subprocess.run(
        [sys.executable, "benchmarks/metrics.py", *words.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "FID by sqrtm takes" in done.stdout
    assert "MMD by cdist takes" in done.stdout
