"""Runs pytest on a CUDA device that is not there, in an environment of its own.

python tests/gpu_dry/launch.py ENVIRONMENT 80 tests/gpu_dry [arguments of pytest]
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def main(environment: str, sm: str, *of_pytest: str) -> int:
    """Exit code of pytest.

    Args:
        environment: folder that requirements.txt is installed in.
        sm: compute capability of the device, as 80 is 8.0.
    """
    built = build(Path(environment).resolve())
    python = Path(environment).resolve() / "bin/python"
    quiet = ["-p", "no:logging", "-W", "ignore::DeprecationWarning", "--tb=short"]
    command = [python, "-m", "pytest", *quiet, *of_pytest]
    print(f"on a device that is not there: sm_{sm}", flush=True)
    return subprocess.run(command, cwd=ROOT, env=told(built, sm), check=False).returncode


def build(environment: Path) -> Path:
    """The folder of both libraries, made if their sources are newer."""
    built = environment / "gpu-dry"
    built.mkdir(exist_ok=True)
    packages = next(environment.glob("lib/python3*/site-packages"))
    headers = next(packages.glob("nvidia/cu*/include"))  # torch's CUDA; Triton's adds what it lacks
    of_cuda = [f"-I{headers}", f"-I{packages}/triton/backends/nvidia/include"]
    ways = {
        "preload.so": ["g++", "-std=c++17", *of_cuda, HERE / "preload.cpp"],
        "libcuda.so.1": ["gcc", HERE / "libcuda.c"],
    }
    for name, words in ways.items():
        made, source = built / name, Path(words[-1])
        if not made.exists() or made.stat().st_mtime < source.stat().st_mtime:
            partial = built / f"{name}.{os.getpid()}"
            subprocess.run([*words, "-shared", "-fPIC", "-O1", "-o", partial], check=True)
            partial.replace(made)
    return built


def told(built: Path, sm: str) -> dict[str, str]:
    """Variables of the process that runs the tests.

    Compiled kernels are kept beside the libraries, by Triton, under a hash of their source, the
    device's capability and Triton itself: a kernel that is found there did compile.
    """
    return {
        **os.environ,
        "LD_PRELOAD": str(built / "preload.so"),
        "LD_LIBRARY_PATH": str(built),
        "PRDIT_GPU_DRY": sm,
        "OMP_NUM_THREADS": "1",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "TORCHINDUCTOR_FX_GRAPH_CACHE": "0",
        "TORCHINDUCTOR_AUTOGRAD_CACHE": "0",
        "TORCHINDUCTOR_CACHE_DIR": str(built / "inductor"),
        "TRITON_CACHE_DIR": str(built / "triton"),
    }


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
